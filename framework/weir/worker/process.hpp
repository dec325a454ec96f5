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
/// And the lock on the plugin's copy, where there is one; the copy's path comes through the pipe.
inline constexpr int plugin_fd = 5;

/// How the parent starts its children: arguments of the executable, without its name.
struct ChildCommands {
  std::string executable;           ///< of this very program, e.g. /proc/self/exe
  std::vector<std::string> work;    ///< comes to run_child
  std::vector<std::string> report;  ///< comes to run_report; Death::arguments are appended
};

/// The parent's exit code where its child died and the next is to start at once: the child had handled messages, or who
/// killed it is charged. (1, after a death that was not asked for: it died before it had handled anything; whoever
/// starts it again does well to wait a little longer each time.)
inline constexpr int exit_start_again = 3;

/// How a reporter ends.
enum class Reported : std::uint8_t {
  told = 0,      ///< or there was nobody to tell, or nothing
  not_told = 1,  ///< no answer, or it died
  charged = 3,   ///< told, with a culprit, or one alone that was on the CPU: the next death charges it
};

/// How a child died, as its reporter's last arguments say it.
struct Death {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  /// Killed by its parent: nobody is to be suspected.
  bool on_purpose = false;
  /// Look for the names of a stack's functions? False: a reporter that did died of it.
  bool with_names = true;
  /// The plugin's file was changed under the process: nobody is charged, as that may be all that killed it.
  bool plugin_changed = false;
  /// How long to try.
  Duration limit{};

  [[nodiscard]] std::vector<std::string> arguments() const;
  /// From the last six of `arguments`. Throws: Error when they are no death.
  [[nodiscard]] static Death parse(const std::vector<std::string>& arguments);
};

/// Runs the pair until SIGTERM, SIGINT or SIGHUP, which drain it; a second one stops it at once.
///
/// Returns the exit code: the child's if it ended by Weir's own code; exit_start_again or 1 after a death; 1 if it was
/// asked to stop and did not end well. Thread: the process's only one.
[[nodiscard]] int run_parent(const GroupSettings& settings, const ChildCommands& commands);

/// Loads the plugin and works until SIGTERM, also its parent's death. Returns 0 if every settlement was confirmed, 1 if
/// not, or if the worker failed, 2 if the configuration or the plugin is wrong. May not return (but _Exit with that
/// code) where a handler would not end.
[[nodiscard]] int run_child(const GroupSettings& settings);

/// Tells the engine that the process died, and of what. What it must know comes from its parent: the deployment file
/// may be half written by now, or say something else. `group` is its name, for the log.
[[nodiscard]] Reported run_report(const std::string& group, const Death& death);

}  // namespace weir::worker
