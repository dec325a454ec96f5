#pragma once

/// The context of a handler: what it knows of its message, and what it can do besides ending.

#include <google/protobuf/message_lite.h>

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "weir/message/name.hpp"
#include "weir/message/units.hpp"
#include "weir/telemetry/log.hpp"

namespace weir {

/// One header of a message, as views. Names and values may be any bytes. A name may occur more than once.
struct HeaderView {
  std::string_view name;
  std::string_view value;
};

/// The headers of a message to publish: a list in braces, or an array, vector or span of HeaderView. A list is copied,
/// an array is not. The bytes of names and values are never copied.
///
///     ctx.publish("emails", welcome, {.headers = {{"trace", trace}, {"source", "shop"}}});
class Headers {
 public:
  /// The most headers in braces. For more, name an array or a vector.
  static constexpr std::size_t listed_most = 8;

  // Not "= default": then "= {}" would fill `listed_` with zeros, and mostly there are no headers.
  constexpr Headers() {}
  // Not an initializer_list: g++ 12 compiles none in an expression with co_await. The views are copied, as a list in
  // braces ends with its expression.
  Headers(HeaderView a) : Headers(Listed(), 1, {a}) {}
  Headers(HeaderView a, HeaderView b) : Headers(Listed(), 2, {a, b}) {}
  Headers(HeaderView a, HeaderView b, HeaderView c) : Headers(Listed(), 3, {a, b, c}) {}
  Headers(HeaderView a, HeaderView b, HeaderView c, HeaderView d) : Headers(Listed(), 4, {a, b, c, d}) {}
  Headers(HeaderView a, HeaderView b, HeaderView c, HeaderView d, HeaderView e)
      : Headers(Listed(), 5, {a, b, c, d, e}) {}
  Headers(HeaderView a, HeaderView b, HeaderView c, HeaderView d, HeaderView e, HeaderView f)
      : Headers(Listed(), 6, {a, b, c, d, e, f}) {}
  Headers(HeaderView a, HeaderView b, HeaderView c, HeaderView d, HeaderView e, HeaderView f, HeaderView g)
      : Headers(Listed(), 7, {a, b, c, d, e, f, g}) {}
  Headers(HeaderView a, HeaderView b, HeaderView c, HeaderView d, HeaderView e, HeaderView f, HeaderView g,
          HeaderView h)
      : Headers(Listed(), 8, {a, b, c, d, e, f, g, h}) {}
  template <class Range>
  requires(!std::same_as<std::remove_cvref_t<Range>, Headers> &&
           std::constructible_from<std::span<const HeaderView>, const Range&>) Headers(const Range& range)
      : elsewhere_(std::span<const HeaderView>(range).data()), count_(std::span<const HeaderView>(range).size()) {}

  [[nodiscard]] std::span<const HeaderView> view() const {
    if (count_ == 0) return {};
    return {elsewhere_ != nullptr ? elsewhere_ : listed_.views.data(), count_};
  }

 private:
  struct Listed {};
  Headers(Listed, std::size_t count, const std::array<HeaderView, listed_most>& listed)
      : count_(count), listed_(listed) {}
  union Views {
    constexpr Views() : none() {}
    Views(const std::array<HeaderView, listed_most>& all) : views(all) {}
    char none;
    std::array<HeaderView, listed_most> views;
  };

  const HeaderView* elsewhere_ = nullptr;
  std::size_t count_ = 0;
  Views listed_;
};

/// How a published message is to be delivered. The strings and the array of headers are views.
///
/// Lifetime: they must live until Context::publish or Publisher::try_send returns. Publisher::publish and send are
/// coroutines, which start when they are first awaited: there the views must live until the message has been taken, so
/// keep them until the task has ended.
struct PublishOptions {
  /// A mark of the author's own, which the message carries. Any bytes. Weir neither orders nor limits messages by it.
  std::string_view key = {};
  /// The author's own id of the message. Any bytes.
  std::string_view unique_id = {};
  /// The message is delivered at the earliest this long after the broker took it.
  Duration delay = Duration::zero();
  /// The message is delivered at the earliest at this wall time.
  std::optional<WallTime> deliver_at = {};
  /// 0 to 9. Higher priorities are delivered first.
  std::uint8_t priority = 4;
  Headers headers = {};
};
// In an awaited call g++ 12 destroys a listed temporary twice, which does a trivial type no harm.
static_assert(std::is_trivially_copyable_v<PublishOptions>);

/// One delivery, as its handler sees it. It and all views that it returns live as long as the handler runs.
///
/// Thread: the shard's. Use it from the handler's coroutine, never from weir::offload. On another thread a publish
/// throws Error, as does the first look at the message's bytes.
class Context {
 public:
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// The name by which handlers deduplicate. It is the same at every attempt, through retry, dead letter and replay. It
  /// also stays the same if a broker died and the message's publisher sent it again. An output has the same name again
  /// if its handler runs again and publishes in the same order. No two messages share a name. `name().text()` is a key
  /// for a database, of at most 53 characters.
  ///
  /// A publishing program that is run again cannot know what it published before, and its messages get new names. If
  /// that matters, put an id of your own into the message.
  [[nodiscard]] virtual MessageName name() const = 0;
  /// Where the message is, as printed for people and commands: orders/4f2a1.17. Do not deduplicate by it: a message
  /// that was delivered before it was on disk gets another place if the broker is killed then.
  [[nodiscard]] virtual std::string id() const = 0;
  [[nodiscard]] virtual std::string_view queue() const = 0;
  [[nodiscard]] virtual std::string_view type() const = 0;
  /// Counts from 1.
  [[nodiscard]] virtual std::uint32_t attempt() const = 0;
  /// The time at which the engine took the message.
  [[nodiscard]] virtual WallTime published_at() const = 0;
  /// The time at which the handler's timeout cancels it.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point deadline() const = 0;
  [[nodiscard]] virtual std::string_view key() = 0;
  /// The message's bytes, undecoded.
  [[nodiscard]] virtual std::string_view payload() = 0;
  [[nodiscard]] virtual std::span<const HeaderView> headers() = 0;
  /// Returns the first header of that name.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) {
    for (const HeaderView& each : headers()) {
      if (each.name == name) return each.value;
    }
    return std::nullopt;
  }

  /// Publishes `message`. It leaves together with this delivery's ack. If the delivery ends in another way, it never
  /// leaves.
  ///
  /// Throws: UnknownQueue if the engine has no such queue; TooLarge if all outputs of this delivery together are larger
  /// than the engine takes, or if this message's type, key, id or delay is above its limit; Error for a type that is
  /// not UTF-8, a priority above 9, or a call on a thread that is not the shard's.
  virtual void publish(std::string_view queue, const google::protobuf::MessageLite& message,
                       const PublishOptions& options = {}) = 0;
  /// Publishes bytes of any kind under the name of their type. Otherwise as publish().
  virtual void publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                           const PublishOptions& options = {}) = 0;

  /// Logs an event with the queue, the message's id, the attempt, and `fields`. Never log a payload.
  virtual void log(log::Level level, std::string_view event, log::Fields fields = {}) = 0;
  void log(std::string_view event, log::Fields fields = {}) { log(log::Level::info, event, fields); }

 protected:
  Context() = default;
  ~Context() = default;
};

}  // namespace weir
