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

/// Nothing if there is no such process.
[[nodiscard]] std::optional<ProcessState> process_state(pid_t pid);

/// All that there are, at about this moment.
[[nodiscard]] std::vector<ProcessState> all_processes();

/// Who debugs it; 0: nobody.
[[nodiscard]] pid_t tracer_of(pid_t pid);

}  // namespace weir::worker
