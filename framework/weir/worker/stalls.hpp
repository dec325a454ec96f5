#pragma once

/// When a handler holds its thread too long. Pure: looks in, findings out.
///
/// *Stalled*: a shard's loop has run one handler for longer than `stall_after`. Told at once, and again each 10 s.
/// *Stuck*: it is past its handler's timeout as well, which no cancellation ends: a loop that has been seen so for a
/// second, or a thread of offload five seconds after its work was asked to stop.
///
/// Time in which this process itself did not run (SIGSTOP, a suspended machine) is nobody's fault: it lengthens the
/// timeout, and only what was seen at look after look counts towards stuck.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker {

class Stalls {
 public:
  using Clock = recorder::Recorder::Clock;

  static constexpr Clock::duration told_again_after = std::chrono::seconds(10);
  static constexpr Clock::duration stuck_on_loop = std::chrono::seconds(1);
  static constexpr Clock::duration stuck_in_pool = std::chrono::seconds(5);
  /// Between two looks: longer, and this process did not run.
  static constexpr Clock::duration gap_most = std::chrono::milliseconds(500);

  enum class Kind : std::uint8_t { none, stalled, stuck };

  /// One thread that is looked at.
  class Thread {
   public:
    /// Has the thread a loop? Threads of offload may be busy as long as they like, until the timeout.
    explicit Thread(bool is_loop) : is_loop_(is_loop) {}

    Kind look(Clock::time_point now, Clock::duration stall_after, const std::optional<recorder::OnCpu>& on_cpu) {
      const Clock::time_point seen_at = std::exchange(seen_at_, now).value_or(now);
      if (!on_cpu || on_cpu->running != running_) {
        running_ = on_cpu ? on_cpu->running : 0;
        told_at_.reset();
        past_since_.reset();
        stopped_ = {};
        stuck_ = false;
      }
      if (on_cpu && now - seen_at > gap_most) {
        stopped_ += now - std::max(seen_at, on_cpu->since);
        past_since_.reset();
      }
      if (!on_cpu || stuck_) return Kind::none;
      if (now > on_cpu->what.deadline + stopped_) {
        if (!past_since_) past_since_ = now;
        if (now - *past_since_ >= (is_loop_ ? stuck_on_loop : stuck_in_pool)) {
          stuck_ = true;
          return Kind::stuck;
        }
      }
      if (!is_loop_ || now - on_cpu->since < stall_after) return Kind::none;
      if (told_at_ && now - *told_at_ < told_again_after) return Kind::none;
      told_at_ = now;
      return Kind::stalled;
    }

    [[nodiscard]] bool is_stuck() const { return stuck_; }

   private:
    bool is_loop_;
    std::uint64_t running_ = 0;
    std::optional<Clock::time_point> seen_at_;
    std::optional<Clock::time_point> told_at_;
    std::optional<Clock::time_point> past_since_;
    Clock::duration stopped_{};
    bool stuck_ = false;
  };
};

}  // namespace weir::worker
