#pragma once

/// Sessions and producers over any connection to a Weir broker: a socket, or this process's memory.

#include <memory>

#include "weir/engine/engine.hpp"
#include "weir/engine/weir/client.hpp"
#include "weir/engine/weir/transport.hpp"

namespace weir::engine::weir_broker {

/// Lifetime: `connector` outlives what is made.
[[nodiscard]] std::unique_ptr<Session> make_session(asio::any_io_executor executor, Connector& connector,
                                                    SessionOptions options, Notice notice);
[[nodiscard]] std::unique_ptr<Producer> make_producer(asio::any_io_executor executor, Connector& connector,
                                                      Notice notice);

}  // namespace weir::engine::weir_broker
