#pragma once

/// The signal that a thread enters a handler's code, for a watch that waits while no handler runs.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace weir::worker::recorder {

/// One watch waits, and any thread rings. If the watch does not wait, a ring is one relaxed load.
///
/// A ring at the very moment in which the watch begins to wait may be missed, as a fence would cost time. So the
/// watch never waits longer than it may look away.
class Bell {
 public:
  /// Waits at most `most`, and if `for_ring`, only until it rings. Returns true if it is closed.
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

  /// Ends this and each later wait.
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
