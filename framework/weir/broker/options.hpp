#pragma once

/// The settings as options of the socket and of the core.

#include <vector>

#include "weir/async/zmq_pump.hpp"
#include "weir/broker/core/core.hpp"
#include "weir/broker/settings.hpp"

namespace weir::broker {

/// Throws: Error, for a `message_most` that is not allowed.
[[nodiscard]] async::SocketOptions socket_options(const BrokerSettings& settings);
[[nodiscard]] core::Config core_config(const BrokerSettings& settings, std::vector<core::QueueConfig> queues);

}  // namespace weir::broker
