#pragma once

/// ZeroMQ's routing ids on one side, the core's connection numbers on the other. A number is never used again.

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "weir/broker/core/action.hpp"
#include "weir/broker/peers.hpp"

namespace weir::broker {

class Connections {
 public:
  struct Known {
    core::Connection connection{};
    PeerId tcp;
  };

  /// nullptr if nothing was heard from the peer, or it is forgotten. Lifetime: until forget().
  [[nodiscard]] Known* find(std::string_view peer) {
    const auto at = by_peer_.find(peer);
    return at == by_peer_.end() ? nullptr : &at->second;
  }
  /// Adds the peer under a new number. Lifetime: until forget().
  Known& add(std::string_view peer) {
    const core::Connection connection = next_++;
    const auto at = by_peer_.emplace(peer, Known{connection, {}}).first;
    by_connection_.emplace(connection, &*at);
    return at->second;
  }
  /// A peer's routing id, and what is known of it.
  using Peer = std::pair<const std::string, Known>;

  /// nullptr if the connection is forgotten. Lifetime: until forget().
  [[nodiscard]] const Peer* find(core::Connection connection) const {
    const auto at = by_connection_.find(connection);
    return at == by_connection_.end() ? nullptr : at->second;
  }
  void forget(core::Connection connection) {
    const auto at = by_connection_.find(connection);
    if (at == by_connection_.end()) return;
    by_peer_.erase(by_peer_.find(at->second->first));
    by_connection_.erase(at);
  }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using ByPeer = std::unordered_map<std::string, Known, Hash, std::equal_to<>>;
  ByPeer by_peer_;
  std::unordered_map<core::Connection, ByPeer::value_type*> by_connection_;
  core::Connection next_ = 1;
};

}  // namespace weir::broker
