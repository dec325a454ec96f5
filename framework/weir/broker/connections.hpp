#pragma once

/// ZeroMQ's routing ids on one side, the core's connection numbers on the other. A number is never used again.

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "weir/broker/core/action.hpp"

namespace weir::broker {

class Connections {
 public:
  /// The peer's connection; a new one if it has none.
  [[nodiscard]] core::Connection of(std::string_view peer) {
    const auto at = by_peer_.find(peer);
    if (at != by_peer_.end()) return at->second;
    const core::Connection connection = next_++;
    by_peer_.emplace(peer, connection);
    by_connection_.emplace(connection, peer);
    return connection;
  }
  /// Empty if it is forgotten. Lifetime: until forget().
  [[nodiscard]] std::string_view peer(core::Connection connection) const {
    const auto at = by_connection_.find(connection);
    return at == by_connection_.end() ? std::string_view{} : at->second;
  }
  /// 0 if there is none.
  [[nodiscard]] core::Connection known(std::string_view peer) const {
    const auto at = by_peer_.find(peer);
    return at == by_peer_.end() ? 0 : at->second;
  }
  void forget(core::Connection connection) {
    const auto at = by_connection_.find(connection);
    if (at == by_connection_.end()) return;
    by_peer_.erase(at->second);
    by_connection_.erase(at);
  }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, core::Connection, Hash, std::equal_to<>> by_peer_;
  std::unordered_map<core::Connection, std::string> by_connection_;
  core::Connection next_ = 1;
};

}  // namespace weir::broker
