#pragma once

/// The registration of a plugin.

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "weir/handler/abi.hpp"
#include "weir/handler/handler.hpp"

namespace weir {

/// Takes the handlers of one shard, and gives the options of the deployment file's `with:`.
///
/// Registration runs once per shard, on the shard's thread. State that a handler captures there belongs to that shard
/// alone. (`static` state is shared by the shards' threads; avoid it.)
class Plugin {
 public:
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  /// Registers `function(Context&, const Message&)` for messages of type `Message` from `queue`. It returns task<>,
  /// task<End> or task<Outcome>.
  template <class Message, class Function>
  void on(std::string_view queue, Function function, const HandlerOptions& options = {}) {
    if constexpr (handler::is_message_handler<Message, Function>()) {
      add(queue, Message::default_instance().GetTypeName(),
          std::make_unique<handler::TypedHandler<Message, Function>>(std::move(function)), options);
    }
  }

  /// Registers `function(Context&, std::string_view payload)` for messages of the named type, undecoded.
  template <class Function>
  void on_raw(std::string_view queue, std::string_view type, Function function, const HandlerOptions& options = {}) {
    if constexpr (handler::is_raw_handler<Function>()) {
      add(queue, type, std::make_unique<handler::BytesHandler<Function>>(std::move(function)), options);
    }
  }

  /// Returns the value of `name` in `with:`, or `otherwise`. A worker refuses, at its start, an option in `with:` that
  /// no registration asks for.
  [[nodiscard]] virtual std::string option(std::string_view name, std::string_view otherwise) = 0;

  /// As option(), for the path of a file or folder. A relative path is relative to the deployment file.
  [[nodiscard]] virtual std::string path(std::string_view name, std::string_view otherwise) = 0;

  /// The shard's loop, for clients and timers that handlers share.
  [[nodiscard]] virtual asio::any_io_executor executor() = 0;
  [[nodiscard]] virtual std::uint32_t shard() const = 0;

 protected:
  Plugin() = default;
  ~Plugin() = default;

 private:
  virtual void add(std::string_view queue, std::string_view type, std::unique_ptr<handler::Handler> handler,
                   const HandlerOptions& options) = 0;
};

}  // namespace weir

/// Defines the plugin's registration. Once per plugin:
///
///     WEIR_PLUGIN(plugin) { plugin.on<shop::OrderPlaced>("orders", confirm); }
#define WEIR_PLUGIN(plugin)                                                                                \
  static void weir_plugin_handlers(::weir::Plugin& plugin);                                                \
  extern "C" [[gnu::visibility("default")]] void weir_plugin_register(::weir::Plugin& weir_plugin_given) { \
    weir_plugin_handlers(weir_plugin_given);                                                               \
  }                                                                                                        \
  [[gnu::section(".weir.abi")]] extern const ::weir::handler::Abi weir_plugin_abi;                         \
  const ::weir::handler::Abi weir_plugin_abi = ::weir::handler::this_abi;                                  \
  static void weir_plugin_handlers(::weir::Plugin& plugin)
