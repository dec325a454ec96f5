#pragma once

/// When a handler holds its thread too long. Pure: looks in, findings out.
///
/// *Stalled*: a shard's loop has run one handler for longer than `stall_after`. Told at once, and again each 10 s.
/// *Stuck*: it is past its handler's timeout as well, which no cancellation ends: a loop that has been seen so for a
/// second, or a thread of offload five seconds after its work was asked to stop.
///
/// Time in which this process itself did not run (SIGSTOP, a suspended machine) is nobody's fault: it lengthens the
/// timeout, and only what was seen at look after look counts towards stuck.

#include <chrono>
#include <cstdint>
#include <optional>

#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker {

enum class Stall : std::uint8_t { none, stalled, stuck };

/// One thread that is looked at.
class Stalls {
 public:
  using Clock = recorder::Recorder::Clock;

  static constexpr Clock::duration told_again_after = std::chrono::seconds(10);
  static constexpr Clock::duration stuck_on_loop = std::chrono::seconds(1);
  static constexpr Clock::duration stuck_in_pool = std::chrono::seconds(5);
  /// Between two looks: longer, and this process did not run.
  static constexpr Clock::duration gap_most = std::chrono::milliseconds(500);

  /// Has the thread a loop? Threads of offload may be busy as long as they like, until the timeout.
  /// `now`: the looks begin; the process may be stopped before the first.
  Stalls(bool is_loop, Clock::time_point now) : is_loop_(is_loop), seen_at_(now) {}

  /// `stuck` is said once of a stretch of code; nothing follows it.
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
