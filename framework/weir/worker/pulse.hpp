#pragma once

/// Tells whether this process was stopped for so long that its leases are lost.
///
/// The keep-alive thread beats. If a shard finds no beat for longer than the session timeout (a SIGSTOP, a suspended
/// machine), it must give back its messages before any handler runs on: other workers may run them already. (A lost
/// connection to the broker is another case: the thread beats on, and lost leases come back as `stale`.)

#include <time.h>

#include <atomic>
#include <cstdint>

#include "weir/message/units.hpp"

namespace weir::worker {

class Pulse {
 public:
  /// Called by the keep-alive thread, once it is up, at least each quarter of `session_timeout`.
  void beat(Duration session_timeout) {
    const std::int64_t now = clock();
    const std::int64_t last = last_.load(std::memory_order_relaxed);
    // Stored before the new beat hides the gap from the shards, which may all wake later than this thread.
    if (last != 0 && now - last > session_timeout.count()) gap_after_.store(last, std::memory_order_relaxed);
    timeout_.store(session_timeout.count(), std::memory_order_relaxed);
    last_.store(now, std::memory_order_release);
  }

  /// One shard's view, which returns true once per gap.
  class Watch {
   public:
    explicit Watch(const Pulse& pulse) : pulse_(&pulse) {}
    [[nodiscard]] bool missed() {
      const std::int64_t last = pulse_->last_.load(std::memory_order_acquire);
      if (last == 0) return false;  // there are no beats: the engine has no keep-alives
      const std::int64_t gap_after = pulse_->gap_after_.load(std::memory_order_relaxed);
      if (gap_after > seen_gap_after_) {
        seen_gap_after_ = gap_after;
        return true;
      }
      if (last <= seen_gap_after_ || clock() - last <= pulse_->timeout_.load(std::memory_order_relaxed)) return false;
      seen_gap_after_ = last;
      return true;
    }

   private:
    const Pulse* pulse_;
    std::int64_t seen_gap_after_ = 0;
  };

 private:
  /// Microseconds of a clock that also runs while the machine is suspended.
  static std::int64_t clock() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  }

  std::atomic<std::int64_t> last_{0};
  std::atomic<std::int64_t> gap_after_{0};  ///< the last beat before the latest gap
  std::atomic<std::int64_t> timeout_{0};
};

}  // namespace weir::worker
