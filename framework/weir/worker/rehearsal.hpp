#pragma once

/// A plugin's registration, rehearsed: what a worker would refuse is found before there is one.
///
/// `weir check --load` and `weir up` start a process for it, since it runs the plugin's code, which may do anything.

#include "weir/worker/settings.hpp"

namespace weir::worker {

/// Where the rehearsing process finds the write end of its pipe.
inline constexpr int findings_fd = 3;
/// What it writes last: without it, it ended before it was done.
inline constexpr char rehearsed_line[] = "rehearsed";

/// Loads the plugin and registers its handlers as shard 0 of the group would; connects to nothing. Writes a line
/// `KEY<tab>TEXT` for each finding to findings_fd, KEY as the group's in the deployment file, then rehearsed_line; and
/// ends the process there and then, with code 0: nothing of the plugin is torn down.
[[noreturn]] void rehearse(const GroupSettings& settings);

}  // namespace weir::worker
