#pragma once

/// A suspended coroutine, kept to be resumed. The tools of this folder are made of it.

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

#include "weir/async/task.hpp"

namespace weir::async {

/// Owns the waiting coroutine. A call, `suspended(error_code)`, resumes it at that place.
///
/// Never keep it in the frame of the same coroutine: the two would own each other.
using Suspended = asio::async_result<asio::use_awaitable_t<>, void(boost::system::error_code)>::handler_type;

/// Suspends the calling coroutine and hands it to `keep(Suspended)`.
///
/// Throws: boost::system::system_error if it is resumed with an error.
template <class Keep>
task<> suspend(Keep keep) {
  // Captures of pointers and numbers only: `keep` becomes a temporary of an awaited expression (callable.hpp).
  static_assert(std::is_trivially_copyable_v<Keep>);
  return asio::async_initiate<const asio::use_awaitable_t<>, void(boost::system::error_code)>(keep,
                                                                                              asio::use_awaitable);
}

/// Resumes the coroutine in a turn of its own, through its executor.
inline void resume_later(Suspended suspended, boost::system::error_code result = {}) {
  const auto executor = suspended.get_executor();
  asio::post(executor, [kept = std::move(suspended), result]() mutable { kept(result); });
}

[[nodiscard]] inline bool is_terminal(asio::cancellation_type type) {
  return (type & asio::cancellation_type::terminal) != asio::cancellation_type::none;
}

}  // namespace weir::async
