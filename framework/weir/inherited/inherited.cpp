#include "weir/inherited/inherited.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <initializer_list>

#include "weir/inherited/hang_up.hpp"

namespace weir::inherited {
namespace {

/// `descriptor` is closed, and all lower ones are open, so the next open() gets its number.
void occupy(int descriptor) {
  // Opened in the wrong direction, so that its use still fails. A failed write of the log is not noticed.
  const int way = descriptor == STDOUT_FILENO ? O_RDONLY : O_WRONLY;
  if (open("/dev/null", way) < 0) open("/", O_RDONLY);  // a folder can be neither read nor written
}

void keep_standard_descriptors() {
  for (const int each : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(each, F_GETFD) < 0) occupy(each);
  }
}

/// True if Weir started this process: its children have a parent-death signal. Others' have none, as a fork clears it.
bool is_started_by_weir() {
  int signal = 0;
  return prctl(PR_GET_PDEATHSIG, &signal) == 0 && signal != 0;
}

void take_signals() {
  // Handled, not ignored: exec would keep an ignored signal.
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  nothing.sa_flags = SA_RESTART;
  sigaction(SIGPIPE, &nothing, nullptr);
  sigaction(SIGXFSZ, &nothing, nullptr);
  std::signal(SIGCHLD, SIG_DFL);
  sigset_t blocked;
  sigfillset(&blocked);
  if (is_started_by_weir()) {
    // A worker's child has these blocked from its start, so that a stop right after the start drains it.
    sigdelset(&blocked, SIGTERM);
    sigdelset(&blocked, SIGHUP);
  }
  sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
}

void raise_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // if refused, the present limit stays
}

}  // namespace

void put_right() {
  keep_standard_descriptors();
  // Before any code takes SIGHUP, and before the terminal is gone.
  (void)hang_up();
  take_signals();
  raise_descriptors();
}

}  // namespace weir::inherited
