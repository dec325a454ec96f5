#pragma once

/// Lines of the flight recorder for the threads of offload: a crash there names its message.

namespace weir::worker {

/// From here on the pool's threads write whose work they run. Once for the process; more often is harmless.
void record_offloads();

}  // namespace weir::worker
