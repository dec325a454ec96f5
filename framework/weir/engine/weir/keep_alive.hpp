#pragma once

/// The thread that vouches for a worker process: it has its own socket and loop, and says what each shard is doing, so
/// that a handler which blocks one is seen.

#include <memory>
#include <string>

#include "weir/engine/process.hpp"
#include "weir/engine/weir/client.hpp"

namespace weir::engine::weir_broker {

/// Starts it. Throws: Error when the URL is wrong.
[[nodiscard]] std::unique_ptr<KeepAlive> make_keep_alive(const std::string& url, KeepAliveOptions options,
                                                         const Notice& notice);

}  // namespace weir::engine::weir_broker
