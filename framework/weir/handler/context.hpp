#pragma once

/// What a handler knows of its message, and what it can do for it besides ending.

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

/// One header of a message, as views. Names and values may be any bytes; a name may come more than once.
struct HeaderView {
  std::string_view name;
  std::string_view value;
};

/// The headers of a message that is published: listed, or an array, vector or span of HeaderView, which is looked at.
///
///     ctx.publish("emails", welcome, {.headers = {{"trace", trace}, {"source", "shop"}}});
class Headers {
 public:
  /// Of those that are listed in braces; for more, name an array or a vector.
  static constexpr std::size_t listed_most = 8;

  Headers() = default;
  // Not an initializer_list: g++ 12 compiles none in an expression with co_await. And kept, not looked at: what stands
  // in braces ends with its expression.
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
    return {elsewhere_ != nullptr ? elsewhere_ : listed_.data(), count_};
  }

 private:
  struct Listed {};
  Headers(Listed, std::size_t count, const std::array<HeaderView, listed_most>& listed)
      : count_(count), listed_(listed) {}

  const HeaderView* elsewhere_ = nullptr;
  std::size_t count_ = 0;
  std::array<HeaderView, listed_most> listed_{};
};

/// How a published message is to be delivered. All views: what they look at must live until publish() returns.
struct PublishOptions {
  /// Messages of one key belong together (order, limits).
  std::string_view key = {};
  /// The user's own id.
  std::string_view unique_id = {};
  /// Not before this long after the broker took it.
  Duration delay = Duration::zero();
  /// Not before this wall time.
  std::optional<WallTime> deliver_at = {};
  /// 0 to 9; higher goes first.
  std::uint8_t priority = 4;
  Headers headers = {};
};
// So that g++ 12 does no harm to one that is listed in an awaited call.
static_assert(std::is_trivially_copyable_v<PublishOptions>);

/// One delivery, as its handler sees it. Lives as long as the handler runs; so do all views that it returns.
///
/// Thread: the shard's. Use it from the handler's coroutine, never from weir::offload: what publishes, or would take
/// the first look at the message's bytes, throws Error on another thread.
class Context {
 public:
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// What to deduplicate by: the same at every attempt, through retry, dead letter and replay, and also where a broker
  /// died and the message's publisher published it again. Of outputs too: a handler that runs again gives what it
  /// publishes the same names again. No two messages share one; `name().text()` is a database's key of at most 53
  /// characters.
  ///
  /// (A publisher that is itself run again cannot know what it published before, and names it anew: for that, put an id
  /// of your own into the message.)
  [[nodiscard]] virtual MessageName name() const = 0;
  /// Where the message is, as printed for people and commands: orders/4f2a1.17. Not what to deduplicate by: a message
  /// that was delivered before it was on disk gets another place if the broker is killed then.
  [[nodiscard]] virtual std::string id() const = 0;
  [[nodiscard]] virtual std::string_view queue() const = 0;
  [[nodiscard]] virtual std::string_view type() const = 0;
  /// From 1.
  [[nodiscard]] virtual std::uint32_t attempt() const = 0;
  /// When the engine took the message.
  [[nodiscard]] virtual WallTime published_at() const = 0;
  /// When the handler's timeout will cancel it.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point deadline() const = 0;
  [[nodiscard]] virtual std::string_view key() = 0;
  /// The message's bytes, undecoded.
  [[nodiscard]] virtual std::string_view payload() = 0;
  [[nodiscard]] virtual std::span<const HeaderView> headers() = 0;
  /// The first header of that name.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) {
    for (const HeaderView& each : headers()) {
      if (each.name == name) return each.value;
    }
    return std::nullopt;
  }

  /// Publishes `message`: it leaves together with this delivery's ack, and not at all if it ends in another way.
  ///
  /// Throws: UnknownQueue if the engine has no such queue; TooLarge if this message with all its outputs is larger than
  /// the engine takes, or its type, key, id or delay is; Error for a type that is not UTF-8, a priority above 9, or on
  /// a thread that is not the shard's.
  virtual void publish(std::string_view queue, const google::protobuf::MessageLite& message,
                       const PublishOptions& options = {}) = 0;
  /// The same with bytes of any kind, under the type's name.
  virtual void publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                           const PublishOptions& options = {}) = 0;

  /// Logs an event with queue, message id and attempt beside `fields`. Never log a payload.
  virtual void log(log::Level level, std::string_view event, log::Fields fields = {}) = 0;
  void log(std::string_view event, log::Fields fields = {}) { log(log::Level::info, event, fields); }

 protected:
  Context() = default;
  ~Context() = default;
};

}  // namespace weir
