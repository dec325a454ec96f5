#include "weir/async/forked_copy.hpp"

#include <pthread.h>
#include <unistd.h>

#include <string_view>

namespace weir::async {
namespace detail {

std::atomic<bool> is_copy{false};

void end_copy() noexcept {
  // The logger may be locked for ever here, as the thread that held it was not copied.
  constexpr std::string_view line =
      "weir: a process that a handler forked came back from the handler, and ends here: it must exec or _exit there; "
      "start daemons elsewhere\n";
  [[maybe_unused]] const ssize_t wrote = write(STDERR_FILENO, line.data(), line.size());
  _exit(1);
}

}  // namespace detail

void watch_forks() {
  pthread_atfork(nullptr, nullptr, [] { detail::is_copy.store(true, std::memory_order_relaxed); });
}

}  // namespace weir::async
