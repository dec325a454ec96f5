#pragma once

/// weir::Semaphore: limits how many run at once on one loop.
///
///     auto gate = std::make_shared<weir::Semaphore>(4, "gateway");   // at registration
///     co_await weir::limit(*gate, send(request));                    // in the handler
///
/// Permits cannot leak: the destructor of Permit gives it back, whatever ended the coroutine that held it. Time in line
/// does not count for the handler's timeout (in_line.hpp). A handler may stand in line for as long as its timeout, in
/// addition.

#include <boost/asio/this_coro.hpp>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <utility>

#include "weir/async/deadlines.hpp"
#include "weir/async/in_line.hpp"
#include "weir/async/suspended.hpp"
#include "weir/async/task.hpp"

namespace weir {

/// Thread: the loop's. Lifetime: it outlives its permits and the coroutines that wait for one.
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

  /// `name` is for logs: a handler that waited in line for too long is logged with it.
  explicit Semaphore(std::size_t permits, std::string name = {}) : name_(std::move(name)), free_(permits) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Waits for a permit. First come, first served. Cancellation: terminal; takes no permit.
  ///
  /// Throws: StillInLine if the handler has stood in line, here and elsewhere, for as long as its timeout. A handler
  /// that already holds all permits waits for itself until then.
  [[nodiscard]] task<Permit> acquire() {
    if (free_ > 0) {
      --free_;
      co_return Permit(this);
    }
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const async::InLine line(executor);
    Place place(*this);
    if (line.until() != async::Timekeeper::Clock::time_point::max()) {
      async::Deadlines::of(executor).arm(place, line.until());
    }
    Place* const at = &place;
    co_await async::suspend([this, at](async::Suspended waiter) { wait(std::move(waiter), *at); });
    if (place.given_up) throw StillInLine(name_, line.waited(), ++given_up_);
    co_return Permit(this);  // give_back() left the permit to this coroutine
  }

  [[nodiscard]] std::size_t available() const { return free_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Place;
  struct Waiting {
    async::Suspended coroutine;
    Place* place;
  };
  /// A coroutine's place in line, in the frame of that coroutine.
  struct Place final : async::Deadline {
    explicit Place(Semaphore& of) : semaphore(of) {}
    void passed() override {
      given_up = true;
      semaphore.take_out(at, {});
    }
    Semaphore& semaphore;
    std::list<Waiting>::iterator at;
    bool given_up = false;
  };

  void wait(async::Suspended coroutine, Place& place) {
    auto slot = coroutine.get_cancellation_slot();
    place.at = waiting_.insert(waiting_.end(), Waiting{std::move(coroutine), &place});
    if (!slot.is_connected()) return;
    // Asio clears the slot when the waiter is resumed, so the place exists whenever this runs.
    slot.assign([this, &place](asio::cancellation_type type) {
      if (async::is_terminal(type)) take_out(place.at, asio::error::operation_aborted);
    });
  }

  /// Takes a coroutine out of the line, and resumes it with `result`. Without an error it cannot be cancelled any more.
  void take_out(std::list<Waiting>::iterator at, boost::system::error_code result) {
    async::Suspended coroutine = std::move(at->coroutine);
    at->place->disarm();
    waiting_.erase(at);
    if (!result) coroutine.get_cancellation_slot().clear();
    async::resume_later(std::move(coroutine), result);
  }

  void give_back() {
    if (waiting_.empty()) {
      ++free_;
    } else {
      take_out(waiting_.begin(), {});  // the coroutine has the permit from here on
    }
  }

  std::string name_;
  std::size_t free_;
  std::uint64_t given_up_ = 0;  ///< places in line that were given up as their time was over
  std::list<Waiting> waiting_;
};

/// Awaits `work` under a permit of `semaphore`.
///
/// Cancellation: as for `work`. While it waits for the permit: terminal, and `work` never starts.
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
