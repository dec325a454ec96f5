#pragma once

/// Programs that handlers start by posix_spawn get the default of each signal that Weir ignores, as after fork().
///
/// exec resets handled signals, but keeps ignored ones. For fork() there is pthread_atfork, but posix_spawn, which
/// Boost.Process and others use, has no such hook. So this executable has its own posix_spawn and posix_spawnp, which
/// plugins find before the C library's. They add the signals to those that are set to their default, and call the
/// library's functions. (system() and popen() call the library's own behind these.)

#include <signal.h>

namespace weir::worker {

/// Sets `signals` to their default in programs that this process starts from now on. Lifetime: `signals` outlives the
/// process's work.
void default_in_what_is_spawned(const sigset_t& signals);

}  // namespace weir::worker
