#pragma once

/// weir::sleep: waits, while other handlers run.

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "weir/async/task.hpp"
#include "weir/message/units.hpp"

namespace weir {

/// Waits for `time`. Cancellation: terminal; throws at once.
inline task<> sleep(Duration time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, bounded(time));
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace weir
