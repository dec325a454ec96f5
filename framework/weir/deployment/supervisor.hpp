#pragma once

/// Runs a deployment's processes on this machine: starts them in order, restarts one that dies, stops them in reverse.
///
/// It has no thread, no ZeroMQ context and no state of its own worth keeping: everything that matters is in the
/// broker's store, so whatever happens to the supervisor costs nothing. No process is left behind when it dies, even by
/// SIGKILL: each child asks the kernel for SIGTERM at its parent's death.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

/// How a process ended.
struct Ended {
  int exit_code = 0;
  int signal = 0;  ///< 0: it exited
  Duration ran{};

  /// False after exit 0 and signals that ask for an end, and after worker::exit_start_again (it had handled messages,
  /// or its culprit is charged). Another signal counts as in vain within the first second.
  [[nodiscard]] bool in_vain() const;
};

/// How long to wait before a process that ended is started again: 100 ms, so that nothing is a busy loop, 20 ms after
/// worker::exit_start_again; after ends in vain, doubling up to 10 s. From the start again after one that was not in
/// vain, or that had run for 30 s.
class RestartDelay {
 public:
  [[nodiscard]] Duration after(const Ended& end);

 private:
  Duration next_{};
};

struct Process {
  std::string name;                    ///< for people: `broker`, `worker shop/0`
  std::vector<std::string> arguments;  ///< of this very program
  /// Stages start in ascending order, each once the one before is ready, and stop in descending order.
  int stage = 0;
  /// Asked now and then until it says yes; none: ready as soon as it runs. Must not block.
  std::function<bool()> is_ready = {};
  /// From SIGTERM to SIGKILL.
  Duration stop_within = std::chrono::seconds(30);
};

/// The processes of `weir up`: the broker, if it is embedded, and the groups' workers. `options` go before each command
/// (`--log json`).
[[nodiscard]] std::vector<Process> processes_of(const Deployment& deployment, const std::vector<std::string>& options);

/// Runs `processes` until SIGINT, SIGTERM or SIGHUP; a second one stops them at once. Children do not get the
/// terminal's Ctrl-C themselves: they are process groups of their own.
///
/// Returns the exit code: 0 if all ended as asked; 1 if one did not, or the first stage never came up; 2 if a process
/// said at its very first start that its configuration is wrong, which no restart mends. (Later it is a file that is
/// being edited, or a plugin that is being built: said loudly, and tried again, while the others go on.)
/// Thread: the main one, before any other exists: parent-death signals follow the thread that forked.
[[nodiscard]] int supervise(std::vector<Process> processes);

}  // namespace weir::deployment
