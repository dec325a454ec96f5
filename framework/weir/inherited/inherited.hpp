#pragma once

/// What a process inherits of whoever started it, put right before anything else looks at it.
///
/// Shells, cron, nohup, systemd, containers and other languages' runtimes leave descriptors closed, and signals ignored
/// or blocked. Nothing of Weir counts on what they leave, but on what this makes of it.

namespace weir::inherited {

/// Call it first thing in `main`, while there is one thread. It cannot fail.
///
/// - A closed descriptor 0, 1 or 2 is taken, so that nothing that is opened later gets its number. Reading the first
///   and writing the second fails, as it did; what is written to the third is lost.
/// - SIGPIPE and SIGXFSZ end nobody: a write whose reader is gone, or beyond the limit of a file, fails. What is
///   started by exec has the default again.
/// - SIGCHLD is the default, so that the ends of children are told.
/// - No signal is blocked, but for SIGTERM and SIGHUP where Weir itself started this process.
/// - The soft limit of descriptors is raised to the hard one: it is 1,024 for the sake of select(), which nobody calls.
/// - What SIGHUP means is settled (hang_up.hpp).
void put_right();

}  // namespace weir::inherited
