#pragma once

/// Settings of the embedded broker, apart from its queues.

#include <filesystem>
#include <string>

#include "weir/broker/store/durability.hpp"
#include "weir/message/units.hpp"

namespace weir::broker {

struct BrokerSettings {
  std::filesystem::path data;
  /// HOST:PORT, an IPv4 address; anything but loopback is refused. Port 0: any free one (Server::url() tells).
  std::string listen = "127.0.0.1:7733";
  Durability durability = Durability::fsync;
  /// Of one encoded message; at most 128 MiB.
  Bytes message_most{16ULL * 1024 * 1024};
  /// The most that a worker's session may have unsettled, whatever window it asks for.
  Load window_most{{65'536}, {256ULL * 1024 * 1024}};
  /// Room that is kept back for settling when the disk is full.
  Bytes reserve{64ULL * 1024 * 1024};
  /// Connections with a session, at once; fewer if there are not as many descriptors.
  std::size_t connections = 10'000;
  Duration session_timeout = std::chrono::seconds(10);
  /// Program and version; for people.
  std::string build = "weir 0.1.0";
};

}  // namespace weir::broker
