#include "weir/worker/leftovers.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "weir/worker/process_state.hpp"

namespace weir::worker {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto look_every = 20ms;
constexpr auto after_sigkill = 1s;

}  // namespace

void become_subreaper() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::vector<pid_t> Leftovers::look() const {
  std::vector<pid_t> alive;
  for (const ProcessState& each : all_processes()) {
    const bool ours = each.parent == getpid();
    if (each.pid == child_ || (!ours && each.group != child_)) continue;
    if (each.state != 'Z') {
      alive.push_back(each.pid);
    } else if (ours) {
      waitpid(each.pid, nullptr, WNOHANG);
    }
  }
  return alive;
}

void Leftovers::ask() {
  if (asked_.empty()) asked_at_ = Clock::now();
  for (const pid_t pid : look()) {
    if (!asked_.insert(pid).second) continue;
    kill(pid, SIGTERM);
    kill(pid, SIGCONT);
  }
}

Leftovers::Ended Leftovers::end(std::chrono::milliseconds grace) {
  Ended ended;
  std::set<pid_t> killed;
  for (;;) {
    ask();
    const std::vector<pid_t> alive = look();
    ended = {.asked = asked_.size(), .killed = killed.size(), .left = alive.size()};
    const auto now = Clock::now();
    if (alive.empty() || now >= asked_at_ + grace + after_sigkill) return ended;
    if (now >= asked_at_ + grace) {
      for (const pid_t pid : alive) {
        // RULE: forked_copies_end_with_the_worker
        kill(pid, SIGKILL);
        killed.insert(pid);
      }
    }
    std::this_thread::sleep_for(look_every);
  }
}

}  // namespace weir::worker
