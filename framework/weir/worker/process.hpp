#pragma once

/// `weir worker` as processes: a small parent and one child.
///
/// The parent has no ZeroMQ context, no plugin and only one thread, so that the failures of a worker cannot happen in
/// it. It makes the process token and hands it to the child through a pipe, makes the flight recorder's file, passes
/// signals on, and reaps. When the child dies, a short-lived second child reads the recorder and tells the broker which
/// message is to blame. So the culprit is charged, and the other messages go to other workers at once.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "weir/message/units.hpp"
#include "weir/worker/settings.hpp"

namespace weir::worker {

/// The descriptors at which a child finds the read end of its pipe, and the flight recorder's file.
inline constexpr int token_fd = 3;
inline constexpr int recorder_fd = 4;
/// The descriptor of the lock on the plugin's copy, if there is a copy. The copy's path comes through the pipe.
inline constexpr int plugin_fd = 5;

/// How the parent starts its children: arguments of the executable, without its name.
struct ChildCommands {
  std::string executable;           ///< of this same program, e.g. /proc/self/exe
  std::vector<std::string> work;    ///< leads to run_child
  std::vector<std::string> report;  ///< leads to run_report; Death::arguments are appended
};

/// The parent's exit code if its child died and the next one can start at once: the child had handled messages, or its
/// culprit is charged. (After a death before it had handled any message the code is 1, and the supervisor should wait a
/// little longer each time.)
inline constexpr int exit_start_again = 3;

/// The exit code of a reporter.
enum class Reported : std::uint8_t {
  told = 0,      ///< or the engine takes no report, or there was nothing to report
  not_told = 1,  ///< no answer, or the reporter died
  charged = 3,   ///< told, with a culprit, or with one message alone on a CPU, which the next death charges
};

/// How a child died. Its reporter gets it as its last arguments.
struct Death {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  /// Killed by its parent: no message becomes a suspect.
  bool on_purpose = false;
  /// Whether to look for the names of a stack's functions. False after a reporter that did so died.
  bool with_names = true;
  /// The plugin's file was changed while the process ran: no message is charged, as the change alone may have killed
  /// it.
  bool plugin_changed = false;
  /// How long to try to report.
  Duration limit{};

  [[nodiscard]] std::vector<std::string> arguments() const;
  /// Reads the last six of `arguments`. Throws: Error if they are no death.
  [[nodiscard]] static Death parse(const std::vector<std::string>& arguments);
};

/// Runs parent and child until SIGTERM, SIGINT or SIGHUP, which drain them. A second signal stops them at once.
///
/// Returns the exit code: the child's, if it ended by Weir's own code; exit_start_again or 1 after a death; 1 if the
/// child was asked to stop and did not end well. Thread: the process's only one.
[[nodiscard]] int run_parent(const GroupSettings& settings, const ChildCommands& commands);

/// Loads the plugin and works until SIGTERM, which its parent's death sends too. Returns 0 if every settlement was
/// confirmed, 1 if not, or if the worker failed, 2 if the configuration or the plugin is wrong. If a handler would not
/// end, it does not return, but calls _Exit with that code.
[[nodiscard]] int run_child(const GroupSettings& settings);

/// Reports to the engine that the process died, and why. All facts come from its parent, as the deployment file may be
/// half written by now, or changed. `group` is the group's name, for the log.
[[nodiscard]] Reported run_report(const std::string& group, const Death& death);

}  // namespace weir::worker
