#pragma once

/// Puts right what a process inherits from its starter, before any other code depends on it.
///
/// Shells, cron, nohup, systemd, containers and other languages' runtimes leave descriptors closed, and signals ignored
/// or blocked. The rest of Weir relies on the state after put_right() only.

namespace weir::inherited {

/// Call it first in `main`, while there is one thread. It cannot fail.
///
/// - A closed descriptor 0, 1 or 2 is opened, so that no later file gets its number. Reads of 0 and writes to 1 fail,
///   as before; writes to 2 are lost.
/// - SIGPIPE and SIGXFSZ do not end the process: a write without a reader, or beyond the limit of a file, fails.
///   Programs that are started by exec have the default again.
/// - SIGCHLD has the default, so that the ends of children are reported.
/// - No signal is blocked, except SIGTERM and SIGHUP if Weir itself started this process.
/// - The soft limit of descriptors is raised to the hard one: it is 1,024 because of select(), which Weir does not
///   call.
/// - The meaning of SIGHUP is decided (hang_up.hpp).
void put_right();

}  // namespace weir::inherited
