#pragma once

/// What simulated messages hold: their own number, and bytes that follow from it.

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "weir/protocol/frame.hpp"

namespace weir::simulation {

/// A simulated message, counted from 1 in its run.
using Uid = std::uint32_t;

/// Its key: some have none.
inline std::string key_of(Uid uid) { return uid % 3 == 0 ? std::string() : "key" + std::to_string(uid); }

/// An encoded Body whose payload has `size` bytes, at least 4.
inline std::string body_of(Uid uid, std::size_t size) {
  std::string payload(size, static_cast<char>('a' + uid % 26));
  std::memcpy(payload.data(), &uid, sizeof uid);
  std::string body;
  protocol::append_body(payload, body);
  return body;
}

/// Whose Body this is; nothing if it is nobody's, or was changed on its way.
inline std::optional<Uid> uid_of(std::string_view body) {
  const auto view = protocol::decode_body(body);
  if (!view || view->payload.size() < sizeof(Uid) || !view->headers.empty()) return std::nullopt;
  Uid uid = 0;
  std::memcpy(&uid, view->payload.data(), sizeof uid);
  const char fill = static_cast<char>('a' + uid % 26);
  if (view->payload.find_first_not_of(fill, sizeof uid) != std::string_view::npos) return std::nullopt;
  return uid;
}

}  // namespace weir::simulation
