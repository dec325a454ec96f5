#pragma once

/// Rehearses a plugin's registration, so that errors that a worker would refuse are found before a worker starts.
///
/// `weir check --load` and `weir up` start a process for it, as it runs the plugin's code, which may do anything.

#include "weir/worker/settings.hpp"

namespace weir::worker {

/// The descriptor at which the rehearsing process finds the write end of its pipe.
inline constexpr int findings_fd = 3;
/// The last line that it writes. Without it, the process ended before it was done.
inline constexpr char rehearsed_line[] = "rehearsed";

/// Loads the plugin and registers its handlers as shard 0 of the group would; connects to nothing. Writes a line
/// `KEY<tab>TEXT` per finding to findings_fd, where KEY is the group's key in the deployment file, and then
/// rehearsed_line. It then ends the process at once, with code 0, without destroying any of the plugin's objects.
[[noreturn]] void rehearse(const GroupSettings& settings);

}  // namespace weir::worker
