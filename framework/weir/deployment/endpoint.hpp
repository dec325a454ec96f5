#pragma once

/// The parts of an engine's URL, for the checks of the deployment file.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::deployment {

inline constexpr std::uint16_t default_port = 7733;

struct Endpoint {
  std::string host;  ///< an IPv6 address without its brackets
  std::uint16_t port = default_port;

  /// Returns HOST:PORT, with an IPv6 address in brackets.
  [[nodiscard]] std::string print() const;
  /// True for 127.0.0.0/8, ::1 and localhost, which only this machine can reach.
  [[nodiscard]] bool is_loopback() const;
};

/// Reads `host`, `host:port` or `[v6]:port`; nothing for any other text.
[[nodiscard]] std::optional<Endpoint> parse_endpoint(std::string_view text);

struct EngineUrl {
  std::string scheme;  ///< before `://`
  std::string rest;    ///< after it
};
[[nodiscard]] std::optional<EngineUrl> parse_url(std::string_view text);

}  // namespace weir::deployment
