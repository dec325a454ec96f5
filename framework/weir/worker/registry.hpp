#pragma once

/// The handlers of one shard, by queue and type.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/handler/plugin.hpp"
#include "weir/worker/settings.hpp"

namespace weir::worker {

struct Registered {
  std::uint32_t queue{};  ///< index into GroupSettings::queues
  std::size_t index{};    ///< into the shard's handlers
  std::string type;
  std::unique_ptr<handler::Handler> handler;
  Duration timeout{};
};

/// Thread: the shard's.
class Registry final : public Plugin {
 public:
  Registry(const GroupSettings& settings, std::uint32_t shard, asio::any_io_executor executor);

  /// An error in a registration.
  struct Finding {
    std::string key;  ///< the group's key in the deployment file that it is about: `queues[2]`, `with.path`, `plugin`
    std::string text;
  };
  /// Returns the errors, once the registration has run: two handlers of one type, a queue without a handler, an option
  /// that no registration asked for, no handler at all.
  [[nodiscard]] std::vector<Finding> findings() const;
  /// Throws: handler::PluginError with all findings(), one per line, if there are any.
  void check() const;

  /// Returns the handler, or null if this shard has none for that type.
  [[nodiscard]] Registered* find(std::uint32_t queue, std::string_view type);
  [[nodiscard]] std::size_t size() const { return handlers_.size(); }
  /// Returns the type of each handler, by its number.
  [[nodiscard]] std::vector<std::string> types() const;
  /// Returns each queue to attach to, with the types that have a handler.
  [[nodiscard]] std::vector<engine::Attachment> attachments() const;
  /// The types of handlers that will not run, by queue, as the group does not list their queue. This is no error:
  /// another group with the same plugin may list the queue.
  [[nodiscard]] const std::map<std::string, std::set<std::string>>& unlisted() const { return unlisted_; }

  [[nodiscard]] std::string option(std::string_view name, std::string_view otherwise) override;
  [[nodiscard]] std::string path(std::string_view name, std::string_view otherwise) override;
  [[nodiscard]] asio::any_io_executor executor() override { return executor_; }
  [[nodiscard]] std::uint32_t shard() const override { return shard_; }
  /// Plugin::on calls it.
  void add(std::string_view queue, std::string_view type, std::unique_ptr<handler::Handler> handler,
           const HandlerOptions& options) override;

 private:
  const GroupSettings& settings_;
  std::uint32_t shard_;
  asio::any_io_executor executor_;
  std::vector<std::unique_ptr<Registered>> handlers_;
  std::vector<std::vector<Registered*>> by_queue_;  // the handler that was found last stands first
  std::vector<std::string> wrong_;
  std::map<std::string, std::set<std::string>> unlisted_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace weir::worker
