#pragma once

/// Reads the state of processes from /proc.

#include <sys/types.h>

#include <optional>
#include <vector>

namespace weir::worker {

struct ProcessState {
  pid_t pid = 0;
  char state = '?';  ///< by proc(5): T is stopped, Z a zombie, …
  pid_t parent = 0;
  pid_t group = 0;
};

/// Returns the state of a process, or of a thread by its id. Nothing if there is none.
[[nodiscard]] std::optional<ProcessState> process_state(pid_t pid);

/// True if the thread waits in a call (for a lock, a file, a sleep). False if it computes, or is ready to, at any of a
/// few looks within some milliseconds.
[[nodiscard]] bool thread_waits(pid_t thread);

/// Returns all processes at about this moment.
[[nodiscard]] std::vector<ProcessState> all_processes();

/// Returns the process that debugs it; 0: none.
[[nodiscard]] pid_t tracer_of(pid_t pid);

}  // namespace weir::worker
