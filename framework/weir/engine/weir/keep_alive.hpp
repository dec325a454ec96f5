#pragma once

/// The thread that sends a worker process's keep-alives, with a socket and a loop of its own. It reports what each
/// shard is doing, so that a handler that blocks a shard is seen.

#include <memory>
#include <string>

#include "weir/engine/process.hpp"
#include "weir/engine/weir/client.hpp"

namespace weir::engine::weir_broker {

/// Starts the thread. Throws: Error if the URL is wrong.
[[nodiscard]] std::unique_ptr<KeepAlive> make_keep_alive(const std::string& url, KeepAliveOptions options,
                                                         const Notice& notice);

}  // namespace weir::engine::weir_broker
