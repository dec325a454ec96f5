#pragma once

/// What a dead child's handlers left running: what they forked ends with their worker.
///
/// The parent is a subreaper: whatever loses its own parent below it becomes the parent's child. So the child's process
/// group and the parent's children are all that a handler can have started, but for what found itself another reaper.

#include <sys/types.h>

#include <chrono>
#include <set>
#include <vector>

namespace weir::worker {

/// From now on orphans below this process become its children.
void become_subreaper();

class Leftovers {
 public:
  /// Of `child`, which has ended and is not reaped yet, so that its group's number is nobody else's.
  explicit Leftovers(pid_t child) : child_(child) {}

  /// Asks them to end: SIGTERM, and SIGCONT to what is stopped.
  void ask();
  /// Waits until they have ended, `grace` from the first ask() at most; then SIGKILL, and a second for that. Asks what
  /// comes to light meanwhile, and reaps. Call it while no other child is waited for. Returns how many there were.
  struct Ended {
    std::size_t asked = 0;
    std::size_t killed = 0;
    std::size_t left = 0;  ///< not even SIGKILL ended them in time
  };
  [[nodiscard]] Ended end(std::chrono::milliseconds grace);

 private:
  /// Those that live.
  [[nodiscard]] std::vector<pid_t> look() const;

  pid_t child_;
  std::chrono::steady_clock::time_point asked_at_;
  std::set<pid_t> asked_;
};

}  // namespace weir::worker
