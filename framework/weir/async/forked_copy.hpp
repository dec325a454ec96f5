#pragma once

/// Ends a copy of this process that a handler forked and that returns out of the handler.
///
/// The copy has one thread, the sockets and the epoll set of the original, and its leases in memory. It could not do
/// the worker's work, and would not end. So a copy ends where the code of a handler returns to Weir. (A child that
/// calls exec, and a copy that ends inside the handler, never get there.)

#include <atomic>

namespace weir::async {

namespace detail {
extern std::atomic<bool> is_copy;
[[noreturn]] void end_copy() noexcept;
}  // namespace detail

/// Makes each later copy by fork() know that it is one. Once per process.
void watch_forks();

/// Ends the process if it is a copy: a line on standard error, exit code 1, no destructors. Thread: any.
inline void end_if_copy() noexcept {
  if (detail::is_copy.load(std::memory_order_relaxed)) [[unlikely]]
    detail::end_copy();
}

}  // namespace weir::async
