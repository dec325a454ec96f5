#include "weir/deployment/endpoint.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace weir::deployment {
namespace {

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  });
}

bool is_v6(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

}  // namespace

std::string Endpoint::print() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool Endpoint::is_loopback() const {
  if (host == "localhost" || host == "::1") return true;
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  Endpoint endpoint;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    endpoint.host = text.substr(1, close - 1);
    if (!is_v6(endpoint.host)) return std::nullopt;
    port = text.substr(close + 1);
  } else {
    const auto colon = text.find(':');
    endpoint.host = text.substr(0, colon);
    if (!is_host(endpoint.host)) return std::nullopt;
    port = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
  }
  if (port.empty()) return endpoint;
  if (!port.starts_with(':')) return std::nullopt;
  port.remove_prefix(1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (error != std::errc{} || end != port.data() + port.size() || endpoint.port == 0) return std::nullopt;
  return endpoint;
}

std::optional<EngineUrl> parse_url(std::string_view text) {
  const auto split = text.find("://");
  if (split == std::string_view::npos || split == 0) return std::nullopt;
  return EngineUrl{std::string(text.substr(0, split)), std::string(text.substr(split + 3))};
}

}  // namespace weir::deployment
