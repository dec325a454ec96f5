#pragma once

/// Ends the processes that a dead child's handlers left running: they end with their worker.
///
/// The parent is a subreaper: a process below it that loses its own parent becomes the parent's child. So the child's
/// process group and the parent's children are all processes that a handler can have started, except those that have
/// another reaper.

#include <sys/types.h>

#include <chrono>
#include <set>
#include <vector>

namespace weir::worker {

/// Makes orphans below this process its children from now on.
void become_subreaper();

class Leftovers {
 public:
  /// `child` has ended and must not be reaped yet, so that no other group has its group's number.
  explicit Leftovers(pid_t child) : child_(child) {}

  /// Asks them to end by SIGTERM, and by SIGCONT if they are stopped.
  void ask();
  /// Waits until they have ended, at most `grace` from the first ask(). Then it sends SIGKILL, and waits 1 s more.
  /// Processes that are found meanwhile are asked too. Reaps all, so call it while no other child is waited for.
  /// Returns how many there were.
  struct Ended {
    std::size_t asked = 0;
    std::size_t killed = 0;
    std::size_t left = 0;  ///< those that even SIGKILL did not end in time
  };
  [[nodiscard]] Ended end(std::chrono::milliseconds grace);

 private:
  /// Returns those that live.
  [[nodiscard]] std::vector<pid_t> look() const;

  pid_t child_;
  std::chrono::steady_clock::time_point asked_at_;
  std::set<pid_t> asked_;
};

}  // namespace weir::worker
