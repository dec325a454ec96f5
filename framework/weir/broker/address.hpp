#pragma once

/// Where the broker listens.

#include <cstdint>
#include <string>

namespace weir::broker {

struct Address {
  std::string host;  ///< an IPv4 address on loopback
  std::uint16_t port{};
};

/// Reads HOST:PORT. Throws: Error if it is none, or is not on loopback.
[[nodiscard]] Address parse_listen(const std::string& listen);

}  // namespace weir::broker
