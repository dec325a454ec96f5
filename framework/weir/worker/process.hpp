#pragma once

/// `weir worker` as processes: a small parent and one child.
///
/// The parent has no ZeroMQ context, no plugin and one thread, so that nothing of what can go wrong in a worker can go
/// wrong in it. It makes the process token and hands it to the child through a pipe, makes the flight recorder's file,
/// passes signals on, and reaps. When the child dies, a short-lived second child reads the recorder and tells the
/// broker who is to blame, so that the culprit is charged and the rest goes to others at once.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "weir/message/units.hpp"
#include "weir/worker/settings.hpp"

namespace weir::worker {

/// Where a child finds the read end of its pipe, and the flight recorder's file.
inline constexpr int token_fd = 3;
inline constexpr int recorder_fd = 4;

/// How the parent starts its children: arguments of the executable, without its name.
struct ChildCommands {
  std::string executable;           ///< of this very program, e.g. /proc/self/exe
  std::vector<std::string> work;    ///< comes to run_child
  std::vector<std::string> report;  ///< comes to run_report; Death::arguments are appended
};

/// How a child died, as its reporter's last arguments say it.
struct Death {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  /// Killed by its parent: nobody is to be suspected.
  bool on_purpose = false;
  /// Look for the names of a stack's functions? False: a reporter that did died of it.
  bool with_names = true;
  /// How long to try.
  Duration limit{};

  [[nodiscard]] std::vector<std::string> arguments() const;
  /// From the last five of `arguments`. Throws: Error when they are no death.
  [[nodiscard]] static Death parse(const std::vector<std::string>& arguments);
};

/// Runs the pair until SIGTERM, SIGINT or SIGHUP, which drain it; a second one stops it at once.
///
/// Returns the exit code: the child's, or 1 if it was killed. Thread: the process's only one.
[[nodiscard]] int run_parent(const GroupSettings& settings, const ChildCommands& commands);

/// Loads the plugin and works until SIGTERM, also its parent's death. Returns 0 if every settlement was confirmed, 1 if
/// not, or if the worker failed, 2 if the configuration or the plugin is wrong. May not return (but _Exit with that
/// code) where a handler would not end.
[[nodiscard]] int run_child(const GroupSettings& settings);

/// Tells the engine that the process died, and of what. Returns 0 once that was answered.
[[nodiscard]] int run_report(const GroupSettings& settings, const Death& death);

}  // namespace weir::worker
