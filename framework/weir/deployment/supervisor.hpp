#pragma once

/// Runs a deployment's processes on this machine: starts them in order, restarts one that dies, stops them in reverse.
///
/// It has no thread, no ZeroMQ context, and no state that must be kept: the broker's store holds all messages, so the
/// loss of the supervisor loses nothing. No process is left behind if it dies, even by SIGKILL: each child asks the
/// kernel for SIGTERM at its parent's death.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

/// How a process ended.
struct Ended {
  int exit_code = 0;
  int signal = 0;  ///< 0: the process exited
  Duration ran{};

  /// True if the run was in vain. False after exit 0, after signals that ask for an end, and after
  /// worker::exit_start_again (the worker had handled messages, or its culprit is charged). Another signal counts as in
  /// vain only within the first second.
  [[nodiscard]] bool in_vain() const;
};

/// The pause before a process that ended is started again: 100 ms, so that no restart is a busy loop, or 20 ms after
/// worker::exit_start_again. After ends in vain it doubles, up to 10 s. It begins anew after an end that was not in
/// vain, or after a run of 30 s.
class RestartDelay {
 public:
  [[nodiscard]] Duration after(const Ended& end);

 private:
  Duration next_{};
};

struct Process {
  std::string name;                    ///< a name for people: `broker`, `worker shop/0`
  std::vector<std::string> arguments;  ///< of this same program
  /// Stages start in ascending order, each when the one before is ready, and stop in descending order.
  int stage = 0;
  /// Asked from time to time until it returns true. Without it, the process is ready as soon as it runs. Must not
  /// block.
  std::function<bool()> is_ready = {};
  /// The time from SIGTERM to SIGKILL.
  Duration stop_within = std::chrono::seconds(30);
};

/// Returns the processes of `weir up`: the broker, if it is embedded, and the groups' workers. `options` precede each
/// command (`--log json`).
[[nodiscard]] std::vector<Process> processes_of(const Deployment& deployment, const std::vector<std::string>& options);

/// Runs `processes` until SIGINT, SIGTERM or SIGHUP. A second signal stops them at once. Children do not get the
/// terminal's Ctrl-C, as they are process groups of their own.
///
/// Returns the exit code: 0 if all ended as asked; 1 if one did not, or the first stage never came up; 2 if a process
/// reported at its very first start that its configuration is wrong, which no restart mends. (Later that may be a file
/// that is being edited, or a plugin that is being built: it is logged as an error, and the process is started again,
/// while the others go on.)
/// Thread: the main one, before any other exists, as parent-death signals follow the thread that forked.
[[nodiscard]] int supervise(std::vector<Process> processes);

}  // namespace weir::deployment
