#pragma once

/// How a handler ends: by returning (done), by throwing one of the types below, or by returning an End.
///
/// Any other exception is a retry with its text as the reason. A thrown end costs 3 to 5 µs, a returned one nothing:
/// where many messages end in the same way, return the end.

#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "weir/message/error.hpp"
#include "weir/message/outcome.hpp"
#include "weir/message/units.hpp"

namespace weir {

/// An outcome with its reason and delay. The functions below make it. Tests compare with it.
class End {
 public:
  End() = default;
  explicit End(Outcome outcome, std::string why = {}, std::optional<Duration> delay = {})
      : outcome_(outcome), delay_(delay), why_(std::move(why)) {}

  [[nodiscard]] Outcome outcome() const { return outcome_; }
  /// For people; empty if the outcome needs no reason. Never put a payload here: the text is logged and kept.
  [[nodiscard]] const std::string& why() const { return why_; }
  /// Retry: the delay instead of the queue's backoff. Defer, throttled: the time until the next delivery.
  [[nodiscard]] std::optional<Duration> delay() const { return delay_; }

  friend bool operator==(const End&, const End&) = default;

 private:
  Outcome outcome_ = Outcome::ack;
  std::optional<Duration> delay_;
  std::string why_;
};

[[nodiscard]] inline End acked() { return {}; }
[[nodiscard]] inline End retried(std::string why = {}, std::optional<Duration> delay = {}) {
  return End(Outcome::retry, std::move(why), delay);
}
[[nodiscard]] inline End rejected(std::string why) { return End(Outcome::reject, std::move(why)); }
[[nodiscard]] inline End released() { return End(Outcome::release); }
[[nodiscard]] inline End deferred(Duration delay) { return End(Outcome::defer, {}, delay); }
[[nodiscard]] inline End throttled(Duration delay) { return End(Outcome::throttled, {}, delay); }

[[nodiscard]] constexpr const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::ack:
      return "acked";
    case Outcome::retry:
      return "retried";
    case Outcome::reject:
      return "rejected";
    case Outcome::release:
      return "released";
    case Outcome::defer:
      return "deferred";
    case Outcome::throttled:
      return "throttled";
  }
  return "unknown";
}

inline std::ostream& operator<<(std::ostream& out, const End& end) {
  out << name_of(end.outcome()) << "(\"" << end.why() << '"';
  if (end.delay()) out << ", " << end.delay()->count() << "us";
  return out << ')';
}

/// A thrown end: the common base of Reject, Retry, Defer and Throttled.
class EndedBy : public Decided {
 public:
  explicit EndedBy(End end) : Decided(end.why()), end_(std::move(end)) {}
  [[nodiscard]] const End& end() const { return end_; }

 private:
  End end_;
};

/// The message will never work: it is a dead letter now.
class Reject : public EndedBy {
 public:
  explicit Reject(std::string why) : EndedBy(rejected(why.empty() ? "rejected without a reason" : std::move(why))) {}
};

/// The attempt failed: the message comes again after the queue's backoff, or after `delay`. Counts as an attempt.
class Retry : public EndedBy {
 public:
  explicit Retry(std::string why = "asked to be retried") : EndedBy(retried(std::move(why))) {}
  template <class Rep, class Period>
  explicit Retry(std::chrono::duration<Rep, Period> delay, std::string why = "asked to be retried")
      : EndedBy(retried(std::move(why), bounded(delay))) {}
};

/// The message comes again after `delay`. Does not count as an attempt.
class Defer : public EndedBy {
 public:
  template <class Rep, class Period>
  explicit Defer(std::chrono::duration<Rep, Period> delay) : EndedBy(deferred(bounded(delay))) {}
};

/// As Defer, and the whole queue pauses as long, whatever the keys of its messages.
class Throttled : public EndedBy {
 public:
  template <class Rep, class Period>
  explicit Throttled(std::chrono::duration<Rep, Period> delay) : EndedBy(throttled(bounded(delay))) {}
};

}  // namespace weir
