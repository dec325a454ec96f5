#pragma once

/// Where an engine is: the parts of its URL that the deployment file is checked by.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::deployment {

inline constexpr std::uint16_t default_port = 7733;

struct Endpoint {
  std::string host;  ///< an IPv6 address without its brackets
  std::uint16_t port = default_port;

  /// HOST:PORT, an IPv6 address in brackets.
  [[nodiscard]] std::string print() const;
  /// 127.0.0.0/8, ::1 or localhost: reachable from this machine alone.
  [[nodiscard]] bool is_loopback() const;
};

/// `host`, `host:port` or `[v6]:port`; nothing if it is none of them.
[[nodiscard]] std::optional<Endpoint> parse_endpoint(std::string_view text);

struct EngineUrl {
  std::string scheme;  ///< before `://`
  std::string rest;    ///< after it
};
[[nodiscard]] std::optional<EngineUrl> parse_url(std::string_view text);

}  // namespace weir::deployment
