#pragma once

/// The report of a worker process's death.

#include <string>

#include "weir/engine/process.hpp"
#include "weir/message/ids.hpp"

namespace weir::engine::weir_broker {

/// Reports to the broker that the process with this token is dead. Tries until there is an answer, or until `limit` is
/// over. Blocks. It makes a ZeroMQ context, so it must not run in a process that still forks.
/// Throws: Error if the URL is wrong.
[[nodiscard]] DeathAnswer report_death(const std::string& url, const ProcessToken& process, const DeadProcess& dead,
                                       Duration limit);

}  // namespace weir::engine::weir_broker
