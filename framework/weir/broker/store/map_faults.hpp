#pragma once

/// The last words of a broker whose store cannot be read. The kernel ends it by SIGBUS (a disk that fails, a file that
/// was cut off, a lock.mdb on a disk that is read-only now) or by SIGSEGV (pages of data.mdb that were damaged while it
/// ran).

#include <filesystem>

namespace weir::broker {

/// From now on a fault of this process at an address where data.mdb or lock.mdb of `folder` is mapped writes a sentence
/// that names the file to standard error, and then ends the process as it would have. Other faults are as before. Call
/// it once per process, after the store was opened; the last call holds.
void name_map_faults(const std::filesystem::path& folder);

}  // namespace weir::broker
