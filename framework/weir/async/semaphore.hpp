#pragma once

/// weir::Semaphore: at most so many at once, on one loop.
///
///     auto per_host = std::make_shared<weir::Semaphore>(4);      // at registration
///     co_await weir::limit(*per_host, send(request));            // in the handler
///
/// Permits cannot leak: one is given back when its Permit dies, whatever ended the coroutine that held it.

#include <cstddef>
#include <list>
#include <utility>

#include "weir/async/suspended.hpp"
#include "weir/async/task.hpp"

namespace weir {

/// Thread: the loop's. Lifetime: outlives its permits and whoever waits for one.
class Semaphore {
 public:
  class Permit {
   public:
    Permit() = default;
    Permit(Permit&& other) noexcept : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(semaphore_, other.semaphore_);
      return *this;
    }
    ~Permit() {
      if (semaphore_ != nullptr) semaphore_->give_back();
    }

   private:
    friend class Semaphore;
    explicit Permit(Semaphore* semaphore) : semaphore_(semaphore) {}
    Semaphore* semaphore_ = nullptr;
  };

  explicit Semaphore(std::size_t permits) : free_(permits) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Waits for a permit, first come, first served. Cancellation: terminal; takes none.
  [[nodiscard]] task<Permit> acquire() {
    if (free_ > 0) {
      --free_;
      co_return Permit(this);
    }
    co_await async::suspend([this](async::Suspended waiter) { wait(std::move(waiter)); });
    co_return Permit(this);  // give_back() left it to us
  }

  [[nodiscard]] std::size_t available() const { return free_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  void wait(async::Suspended waiter) {
    auto slot = waiter.get_cancellation_slot();
    const auto at = waiting_.insert(waiting_.end(), std::move(waiter));
    if (!slot.is_connected()) return;
    // Cleared by Asio when the waiter is resumed, so `at` is valid whenever this runs.
    slot.assign([this, at](asio::cancellation_type type) {
      if (!async::is_terminal(type)) return;
      async::Suspended cancelled = std::move(*at);
      waiting_.erase(at);
      async::resume_later(std::move(cancelled), asio::error::operation_aborted);
    });
  }

  void give_back() {
    if (waiting_.empty()) {
      ++free_;
      return;
    }
    async::Suspended first = std::move(waiting_.front());
    waiting_.pop_front();
    first.get_cancellation_slot().clear();  // the permit is its own from here: too late to cancel
    async::resume_later(std::move(first));
  }

  std::size_t free_;
  std::list<async::Suspended> waiting_;
};

/// Awaits `work` under a permit of `semaphore`.
///
/// Cancellation: as `work`'s, or while waiting for the permit, in which case `work` never starts.
template <class T>
task<T> limit(Semaphore& semaphore, task<T> work) {
  const Semaphore::Permit permit = co_await semaphore.acquire();
  co_return co_await std::move(work);
}
inline task<> limit(Semaphore& semaphore, task<> work) {
  const Semaphore::Permit permit = co_await semaphore.acquire();
  co_await std::move(work);
}

}  // namespace weir
