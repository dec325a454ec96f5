#pragma once

/// Lines of the flight recorder for the threads of offload, so that a crash there names its message.

namespace weir::worker {

/// Makes the pool's threads record whose work they run. Call it once per process; more calls are harmless.
void record_offloads();

}  // namespace weir::worker
