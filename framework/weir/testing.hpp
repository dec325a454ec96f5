#pragma once

/// Runs a handler without a broker, with the dispatcher, the timeout and the outcomes of a worker.
///
///     using weir::testing::run;
///     EXPECT_EQ(run(confirm, an_order().without_items()), weir::rejected("no items"));
///
///     const auto ran = run(confirm, an_order());
///     EXPECT_EQ(ran, weir::acked());
///     EXPECT_EQ(ran.published.at(0).as<shop::Confirmation>().id(), "7");

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "weir/handler/end.hpp"
#include "weir/handler/plugin.hpp"

namespace weir::testing {

/// The surroundings of the message. Set only what must differ from the defaults.
struct Given {
  std::string queue = "test";
  std::string key = {};
  std::uint32_t attempt = 1;
  /// The message's name. Two runs with the same name are two attempts at the same message.
  MessageName name = {*PublisherId::from("a test publisher"), 1};
  std::vector<std::pair<std::string, std::string>> headers = {};
  /// The handler's timeout, if it was registered without one.
  Duration timeout = std::chrono::seconds(30);
  /// The queues that the engine has besides `queue`. Absent: any queue exists.
  std::optional<std::vector<std::string>> queues = {};
  /// The largest message, and the most that one handler may publish.
  Bytes message_most{16 * 1024 * 1024};
};

/// A message that the handler published, and that left together with the ack.
struct Published {
  std::string queue;
  std::string type;
  std::string payload;
  std::string key;
  std::string unique_id;
  std::vector<std::pair<std::string, std::string>> headers;
  Duration delay{};
  std::optional<WallTime> deliver_at;
  std::uint8_t priority{};

  /// Returns its payload, decoded. Throws: std::runtime_error if it is of another type.
  template <class Message>
  [[nodiscard]] Message as() const {
    Message message;
    if (type != message.GetTypeName() || !message.ParseFromString(payload)) {
      throw std::runtime_error("published to '" + queue + "' was a " + type + ", not a " + message.GetTypeName());
    }
    return message;
  }
};

/// How the handler ended, and what it published. Compares with acked(), rejected("why"), retried("why", 5s) and so on.
struct Ran {
  End end;
  std::vector<Published> published;
  Duration took{};

  friend bool operator==(const Ran& ran, const End& expected) { return ran.end == expected; }
  friend std::ostream& operator<<(std::ostream& out, const Ran& ran) {
    return out << ran.end << " with " << ran.published.size() << " published";
  }
};

using Registration = void (*)(Plugin&);

/// Runs the handler that `registration` registers for the message's queue and type. `with` are the plugin's options.
///
/// Throws: handler::PluginError in the cases in which a worker does at its start.
/// Thread: the caller's, until the handler has ended.
[[nodiscard]] Ran run(Registration registration, std::string_view type, std::string_view payload,
                      const Given& given = {}, const std::map<std::string, std::string>& with = {});
template <class Message>
[[nodiscard]] Ran run(Registration registration, const Message& message, const Given& given = {},
                      const std::map<std::string, std::string>& with = {}) {
  return run(registration, message.GetTypeName(), message.SerializeAsString(), given, with);
}

namespace detail {
[[nodiscard]] Ran run(std::unique_ptr<handler::Handler> handler, std::string_view type, std::string_view payload,
                      const Given& given);
}

/// Runs `function`, a handler of `Message`, on one message.
template <class Message, class Function>
requires(!std::is_convertible_v<Function, Registration>) [[nodiscard]] Ran
    run(Function function, const Message& message, const Given& given = {}) {
  if constexpr (handler::is_message_handler<Message, Function>()) {
    return detail::run(std::make_unique<handler::TypedHandler<Message, Function>>(std::move(function)),
                       message.GetTypeName(), message.SerializeAsString(), given);
  } else {
    return {};  // it does not compile
  }
}

/// Runs a handler of raw payloads.
template <class Function>
[[nodiscard]] Ran run_raw(Function function, std::string_view type, std::string_view payload, const Given& given = {}) {
  if constexpr (handler::is_raw_handler<Function>()) {
    return detail::run(std::make_unique<handler::BytesHandler<Function>>(std::move(function)), type, payload, given);
  } else {
    return {};  // it does not compile
  }
}

}  // namespace weir::testing

/// The plugin's own registration, for run(weir_plugin_register, …) in a test that links <plugin>_handlers.
extern "C" void weir_plugin_register(::weir::Plugin& plugin);
