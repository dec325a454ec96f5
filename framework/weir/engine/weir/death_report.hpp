#pragma once

/// The report of a worker process's death.

#include <string>

#include "weir/engine/process.hpp"
#include "weir/message/ids.hpp"

namespace weir::engine::weir_broker {

/// Tells the broker that the process with this token is dead. Tries until it is answered, or until `limit` is over.
/// Blocking; makes a ZeroMQ context, so it must not run in a process that still forks.
/// Throws: Error when the URL is wrong.
[[nodiscard]] DeathAnswer report_death(const std::string& url, const ProcessToken& process, const DeadProcess& dead,
                                       Duration limit);

}  // namespace weir::engine::weir_broker
