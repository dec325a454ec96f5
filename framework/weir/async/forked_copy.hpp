#pragma once

/// A copy of this process that a handler forked, and that comes back out of the handler.
///
/// It has one thread, the sockets and the epoll set of the original, and its leases by heart: run on, it would be a
/// clone of the worker that works at nothing and ends at nothing. So wherever code of a handler returns to Weir, a copy
/// ends. (fork + exec, and a copy that ends in the handler, never come there.)

#include <atomic>

namespace weir::async {

namespace detail {
extern std::atomic<bool> is_copy;
[[noreturn]] void end_copy() noexcept;
}  // namespace detail

/// From now on each copy that fork() makes of this process knows that it is one. Once a process.
void watch_forks();

/// Ends a copy: a line on standard error, exit code 1, nothing torn down. Thread: any.
inline void end_if_copy() noexcept {
  if (detail::is_copy.load(std::memory_order_relaxed)) [[unlikely]]
    detail::end_copy();
}

}  // namespace weir::async
