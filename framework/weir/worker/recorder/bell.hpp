#pragma once

/// What a watch waits for while nothing runs: the next thread that enters a handler's code.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace weir::worker::recorder {

/// One watch waits; any thread rings. Where nobody waits for it, a ring is one relaxed load.
///
/// An entry in the very moment in which the watch begins to wait may go unheard (no fence is paid for that): the
/// watch waits no longer than it may look away.
class Bell {
 public:
  /// Waits, at most `most`, and if `for_ring`, only until it rings. True if it is closed.
  bool wait(std::chrono::nanoseconds most, bool for_ring) {
    std::unique_lock lock(mutex_);
    armed_.store(for_ring, std::memory_order_relaxed);
    heard_.wait_for(lock, most, [&] { return closed_ || (for_ring && !armed_.load(std::memory_order_relaxed)); });
    armed_.store(false, std::memory_order_relaxed);
    return closed_;
  }

  void ring() {
    if (armed_.load(std::memory_order_relaxed)) [[unlikely]] {
      wake();
    }
  }

  /// Ends each wait, for ever.
  void close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    heard_.notify_all();
  }

 private:
  [[gnu::cold, gnu::noinline]] void wake() {
    const std::scoped_lock lock(mutex_);
    armed_.store(false, std::memory_order_relaxed);
    heard_.notify_all();
  }

  std::atomic<bool> armed_{false};
  std::mutex mutex_;
  std::condition_variable heard_;
  bool closed_ = false;
};

}  // namespace weir::worker::recorder
