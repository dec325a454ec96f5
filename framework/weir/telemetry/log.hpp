#pragma once

/// Logs: events with fields, on standard error.
///
///     log::warn("lease_lost", {{"queue", queue}, {"message", id}, {"attempt", 2}});
///
/// prints `2026-11-23T18:19:03.120Z WARN lease_lost queue=orders message=orders/4f.1 attempt=2`, or a JSON line. A
/// field has one name everywhere. Above `debug` no event is logged per message. `error` means that the operator must
/// act. Never log a payload.

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "weir/message/units.hpp"

namespace weir::log {

enum class Level { debug, info, warn, error };

/// Reads `debug`, `info`, `warn` or `error`; nothing for another word.
[[nodiscard]] std::optional<Level> parse_level(std::string_view text);

struct Options {
  bool json = false;
  Level level = Level::info;
};

/// Sets how all later lines look. Thread: before others log.
void configure(Options options);

/// Passes each written line, without its time, to `copy` as well, such as a flight recorder. Thread: call it before
/// others log; `copy` is called on any.
void copy_to(void (*copy)(void* where, std::string_view line), void* where);

/// A field's value, as a view. It is printed before the call returns.
class Value {
 public:
  Value(std::string_view text) : held_(text) {}
  Value(const char* text) : held_(std::string_view(text)) {}
  Value(const std::string& text) : held_(std::string_view(text)) {}
  Value(bool truth) : held_(truth) {}
  template <std::signed_integral T>
  Value(T number) : held_(static_cast<std::int64_t>(number)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Value(T number) : held_(static_cast<std::uint64_t>(number)) {}
  Value(double number) : held_(number) {}
  template <class Rep, class Period>
  Value(std::chrono::duration<Rep, Period> time) : held_(std::chrono::duration_cast<Duration>(time)) {}
  template <class Kind>
  Value(Count<Kind> count) : held_(count.value) {}

  using Held = std::variant<std::string_view, bool, std::int64_t, std::uint64_t, double, Duration>;
  [[nodiscard]] const Held& held() const { return held_; }

 private:
  Held held_;
};

struct Field {
  std::string_view name;
  Value value;
};
using Fields = std::initializer_list<Field>;

/// True if the level is logged. Costs one relaxed load; ask it before you make expensive fields.
[[nodiscard]] bool enabled(Level level);

/// Thread: any.
void write(Level level, std::string_view event, std::span<const Field> fields);
inline void write(Level level, std::string_view event, Fields fields) {
  if (enabled(level)) write(level, event, std::span<const Field>(fields.begin(), fields.size()));
}
inline void debug(std::string_view event, Fields fields = {}) { write(Level::debug, event, fields); }
inline void info(std::string_view event, Fields fields = {}) { write(Level::info, event, fields); }
inline void warn(std::string_view event, Fields fields = {}) { write(Level::warn, event, fields); }
inline void error(std::string_view event, Fields fields = {}) { write(Level::error, event, fields); }

/// Prints why a program ends: `who: what` for people, or an event `failed` if logs are JSON lines. Thread: any.
void last_words(std::string_view who, std::string_view what);

/// Lets one event pass per `every`, and counts those between. Usually `static`, one per place in the code.
class Limit {
 public:
  explicit Limit(Duration every = std::chrono::seconds(10)) : every_(every) {}
  /// Returns nothing if the event is to be left out, else how many were left out since the last that passed. Thread:
  /// any.
  [[nodiscard]] std::optional<std::uint64_t> pass(std::chrono::steady_clock::time_point now);
  /// False if pass() would leave it out. Ask it before you make expensive fields. Thread: any.
  [[nodiscard]] bool due(std::chrono::steady_clock::time_point now) const {
    return now.time_since_epoch().count() >= next_.load(std::memory_order_relaxed);
  }
  void leave_out() { left_out_.fetch_add(1, std::memory_order_relaxed); }
  /// Returns how many were left out since the last that passed, and resets the count.
  [[nodiscard]] std::uint64_t take_left_out() { return left_out_.exchange(0, std::memory_order_relaxed); }

 private:
  Duration every_;
  std::atomic<std::int64_t> next_{INT64_MIN};  ///< by the steady clock, in its own ticks
  std::atomic<std::uint64_t> left_out_{0};
};

/// Logs a warning that may repeat. It is limited, and says how many were left out (field `left_out`).
void warn(Limit& limit, std::string_view event, Fields fields = {});

}  // namespace weir::log
