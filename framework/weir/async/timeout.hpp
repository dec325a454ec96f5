#pragma once

/// weir::timeout: bounds the time of a task.

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <string>
#include <type_traits>
#include <utility>

#include "weir/async/deadlines.hpp"
#include "weir/async/task.hpp"
#include "weir/message/error.hpp"
#include "weir/message/units.hpp"

namespace weir {

/// The awaited work took too long.
struct TimedOut : Error {
  using Error::Error;
  explicit TimedOut(Duration limit) : Error("timed out after " + print(limit)) {}

 private:
  static std::string print(Duration limit) {
    const auto us = limit.count();
    if (us % 1'000'000 == 0) return std::to_string(us / 1'000'000) + "s";
    if (us % 1'000 == 0) return std::to_string(us / 1'000) + "ms";
    return std::to_string(us) + "us";
  }
};

namespace async {

/// Cancels awaited work when its time is over.
class Expiry final : public Deadline {
 public:
  Expiry(const asio::any_io_executor& executor, Duration limit) {
    auto& deadlines = Deadlines::of(executor);
    deadlines.arm(*this, Deadlines::Clock::now() + bounded(limit));
  }
  [[nodiscard]] bool expired() const { return expired_; }
  [[nodiscard]] asio::cancellation_slot slot() { return signal_.slot(); }
  void cancel(asio::cancellation_type type) { signal_.emit(type); }

 private:
  void passed() override {
    expired_ = true;
    signal_.emit(asio::cancellation_type::terminal);
  }

  bool expired_ = false;
  asio::cancellation_signal signal_;
};

/// Passes the awaiting coroutine's cancellation on to `expiry` while it lives. Without it, an operation that is bound
/// to a slot of its own would not hear of the coroutine's cancellation.
class CancelledTogether {
 public:
  CancelledTogether(asio::cancellation_slot outer, Expiry& expiry) : outer_(outer) {
    if (outer_.is_connected()) {
      outer_.assign([&expiry](asio::cancellation_type type) { expiry.cancel(type); });
    }
  }
  CancelledTogether(const CancelledTogether&) = delete;
  CancelledTogether& operator=(const CancelledTogether&) = delete;
  ~CancelledTogether() { outer_.clear(); }

 private:
  asio::cancellation_slot outer_;
};

}  // namespace async

/// Awaits `work` for at most `limit`.
///
/// Throws: TimedOut if `work` throws after `limit` has passed and it was cancelled; before that, what `work` throws.
/// Time that `work` waits in line for a semaphore counts. To bound the work alone: `limit(gate, timeout(1s, work))`.
/// Cancellation: ends `work` first, so no part of `work` runs after this has returned.
template <class T>
task<T> timeout(Duration limit, task<T> work) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  async::Expiry expiry(executor, limit);
  auto running =
      asio::co_spawn(executor, std::move(work), asio::bind_cancellation_slot(expiry.slot(), asio::use_awaitable));
  const async::CancelledTogether together(state.slot(), expiry);
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(running);
      co_return;
    } else {
      co_return co_await std::move(running);
    }
  } catch (...) {
    if (!expiry.expired()) throw;
  }
  throw TimedOut(limit);
}

template <class Rep, class Period, class T>
task<T> timeout(std::chrono::duration<Rep, Period> limit, task<T> work) {
  return timeout(bounded(limit), std::move(work));
}

}  // namespace weir
