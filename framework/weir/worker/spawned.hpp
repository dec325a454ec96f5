#pragma once

/// What handlers start by posix_spawn gets the default of each signal that Weir ignores, as after fork().
///
/// exec resets what is handled, but keeps what is ignored. For fork() there is pthread_atfork; posix_spawn, which
/// Boost.Process and others use, tells nobody. So this executable has a posix_spawn and a posix_spawnp of its own,
/// which plugins find before the C library's: they add the signals to what is set to its default, and call the
/// library's. (system() and popen() call the library's own behind these.)

#include <signal.h>

namespace weir::worker {

/// From now on, in this process. `signals` outlives it.
void default_in_what_is_spawned(const sigset_t& signals);

}  // namespace weir::worker
