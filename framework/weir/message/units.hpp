#pragma once

/// Units: a count says what it counts, an instant says by which clock.
///
/// Code that mixes two of them does not compile.

#include <chrono>
#include <compare>
#include <cstdint>

namespace weir {

/// A count of one kind of thing.
template <class Kind>
struct Count {
  std::uint64_t value{};
  friend constexpr auto operator<=>(Count, Count) = default;
  friend constexpr Count operator+(Count a, Count b) { return {a.value + b.value}; }
  friend constexpr Count operator-(Count a, Count b) { return {a.value - b.value}; }
  constexpr Count& operator+=(Count other) { return *this = *this + other; }
  constexpr Count& operator-=(Count other) { return *this = *this - other; }
};
using Messages = Count<struct MessageKind>;
using Bytes = Count<struct ByteKind>;

using Duration = std::chrono::microseconds;

/// The longest time that is taken: a longer one counts as this. Added to a time of any clock here, it stays below the
/// last time of that clock. A longer one would make the sum wrap around, and "for ever" would be over at once.
inline constexpr Duration for_ever = std::chrono::years(100);

/// The time in microseconds, at most for_ever (and at least -for_ever): also for `hours::max()`.
template <class Rep, class Period>
[[nodiscard]] constexpr Duration bounded(std::chrono::duration<Rep, Period> time) {
  using Seconds = std::chrono::duration<double>;
  if (Seconds(time) >= Seconds(for_ever)) return for_ever;
  if (Seconds(time) <= -Seconds(for_ever)) return -for_ever;
  return std::chrono::duration_cast<Duration>(time);
}

/// The clock of leases, rates and backoff. The shell passes its time in as a value; no code here reads it.
struct Monotonic {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Monotonic>;
  static constexpr bool is_steady = true;
};
using Instant = Monotonic::time_point;
/// Due times, expiry, stamps.
using WallTime = std::chrono::sys_time<Duration>;

/// Both times of one moment, as the shell read them.
struct Now {
  Instant instant;
  WallTime wall;
};

/// Messages that are held, or may be held, unsettled. Bytes count the encoded Body (payload and headers).
struct Load {
  Messages messages;
  Bytes bytes;
  friend constexpr bool operator==(Load, Load) = default;
  constexpr Load& operator+=(Load other) {
    messages += other.messages;
    bytes += other.bytes;
    return *this;
  }
  constexpr Load& operator-=(Load other) {
    messages -= other.messages;
    bytes -= other.bytes;
    return *this;
  }
};

}  // namespace weir
