#include "weir/worker/start_child.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "weir/message/error.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

[[noreturn]] void fail(const char* what) { throw Error(std::string(what) + ": " + std::strerror(errno)); }

/// Runs between fork and exec, so makes only calls that are safe there.
[[noreturn]] void become(const ChildStart& start, char* const* argv, int handed, pid_t parent) {
  // A group of its own: the terminal's Ctrl-C goes to the parent alone, and processes that handlers fork can be ended
  // together. The child also must not outlive the parent.
  setpgid(0, 0);
  // RULE: child_ends_with_its_parent
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  sigprocmask(SIG_SETMASK, &start.blocked, nullptr);
  dup2(handed, token_fd);
  dup2(start.recorder, recorder_fd);
  if (start.plugin_lock >= 0) dup2(start.plugin_lock, plugin_fd);
  execv(start.executable.c_str(), argv);
  _exit(127);
}

}  // namespace

pid_t start_child(const ChildStart& start) {
  // All allocations come before the fork.
  std::vector<char*> argv{const_cast<char*>("weir")};
  for (const std::string& each : start.arguments) argv.push_back(const_cast<char*>(each.c_str()));
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
  const int handed = fcntl(ends[0], F_DUPFD_CLOEXEC, files_from);
  if (handed < 0) fail("dup");
  close(ends[0]);
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) become(start, argv.data(), handed, self);
  setpgid(child, child);  // set here too, so that it holds before the child has run
  close(handed);
  hand_over(ends[1], start.token, start.text);
  close(ends[1]);
  return child;
}

}  // namespace weir::worker
