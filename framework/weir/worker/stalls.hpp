#pragma once

/// Finds a handler that holds its thread too long. Pure: looks in, findings out.
///
/// *Stalled*: a shard's loop has run one handler for longer than `stall_after`. Reported at once, and again each 10 s.
/// *Stuck*: the thread is also past its handler's timeout, so that no cancellation ends it. For a loop, looks must have
/// seen that for 1 s; for a thread of offload, for 5 s after its work was asked to stop.
///
/// Time in which this process itself did not run (SIGSTOP, a suspended machine) does not count: it lengthens the
/// timeout, and only an unbroken series of looks counts towards stuck.

#include <chrono>
#include <cstdint>
#include <optional>

#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker {

enum class Stall : std::uint8_t { none, stalled, stuck };

/// The looks at one thread.
class Stalls {
 public:
  using Clock = recorder::Recorder::Clock;

  static constexpr Clock::duration told_again_after = std::chrono::seconds(10);
  static constexpr Clock::duration stuck_on_loop = std::chrono::seconds(1);
  static constexpr Clock::duration stuck_in_pool = std::chrono::seconds(5);
  /// The longest gap between two looks. After a longer one, this process did not run.
  static constexpr Clock::duration gap_most = std::chrono::milliseconds(500);

  /// `is_loop`: whether the thread has a loop. Threads of offload may be busy for any time up to the timeout.
  /// `now`: when the looks begin, as the process may be stopped before the first.
  Stalls(bool is_loop, Clock::time_point now) : is_loop_(is_loop), seen_at_(now) {}

  /// Returns `stuck` once per stretch of code, and `none` afterwards.
  [[nodiscard]] Stall look(Clock::time_point now, Clock::duration stall_after,
                           const std::optional<recorder::OnCpu>& on_cpu);

 private:
  bool is_loop_;
  std::uint64_t running_ = 0;
  Clock::time_point seen_at_;
  std::optional<Clock::time_point> told_at_;
  std::optional<Clock::time_point> past_since_;
  Clock::duration stopped_{};
  bool stuck_ = false;
};

}  // namespace weir::worker
