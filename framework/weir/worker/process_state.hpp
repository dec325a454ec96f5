#pragma once

/// What the kernel says of processes: /proc, read.

#include <sys/types.h>

#include <optional>
#include <vector>

namespace weir::worker {

struct ProcessState {
  pid_t pid = 0;
  char state = '?';  ///< as in proc(5): T stopped, Z a zombie, …
  pid_t parent = 0;
  pid_t group = 0;
};

/// Nothing if there is no such process. Of a thread as well, by its id.
[[nodiscard]] std::optional<ProcessState> process_state(pid_t pid);

/// Does the thread wait in a call (for a lock, a file, its sleep)? False while it computes, or would like to: found at
/// any of a few looks within some milliseconds.
[[nodiscard]] bool thread_waits(pid_t thread);

/// All that there are, at about this moment.
[[nodiscard]] std::vector<ProcessState> all_processes();

/// Who debugs it; 0: nobody.
[[nodiscard]] pid_t tracer_of(pid_t pid);

}  // namespace weir::worker
