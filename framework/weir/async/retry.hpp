#pragma once

/// weir::retry: tries again after a pause, inside one attempt at a message.
///
/// Use it for failures that are frequent and short (a connection reset). Leave longer ones to the queue's own retries,
/// which hold no slot and survive the worker.

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "weir/async/callable.hpp"
#include "weir/async/sleep.hpp"
#include "weir/async/task.hpp"
#include "weir/message/error.hpp"
#include "weir/message/units.hpp"

namespace weir {

/// The pause before try n + 1 is first × factor^(n - 1), at most `most`.
struct RetryPolicy {
  std::uint32_t tries = 3;
  Duration first = std::chrono::milliseconds(100);
  double factor = 2;
  Duration most = std::chrono::seconds(10);
};

namespace async {

template <class F>
std::invoke_result_t<F&> retry_loop(RetryPolicy policy, F function) {
  Duration pause = policy.first;
  for (std::uint32_t tried = 1;; ++tried) {
    try {
      if constexpr (std::is_void_v<typename std::invoke_result_t<F&>::value_type>) {
        co_await function();
        co_return;
      } else {
        co_return co_await function();
      }
    } catch (const Decided&) {
      throw;
    } catch (...) {
      if (tried >= policy.tries) throw;
    }
    // After a cancellation this throws at once, so cancelled work is not tried again.
    co_await sleep(std::min(pause, policy.most));
    pause = std::min(policy.most, bounded(std::chrono::duration<double, Duration::period>(pause) * policy.factor));
  }
}

}  // namespace async

/// Awaits the task `function()` until a try succeeds, at most `policy.tries` times.
///
/// Throws: what the last try threw. A Reject, Retry, Defer, Throttled or StillInLine is thrown at once.
/// Cancellation: ends the present try or pause.
template <class F>
auto retry(RetryPolicy policy, F&& function) {
  static_assert(async::safe_callable<F>, "name the lambda first: g++ 12 (weir/async/callable.hpp)");
  return async::retry_loop<std::decay_t<F>>(policy, std::forward<F>(function));
}

}  // namespace weir
