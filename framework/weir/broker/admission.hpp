#pragma once

/// The socket's connections, as libzmq's monitor reports them: which are let in, which must go, and what the log says.

#include <string>
#include <string_view>
#include <vector>

#include "weir/async/zmq_pump.hpp"
#include "weir/broker/peers.hpp"
#include "weir/broker/settings.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::broker {

/// As many connections as `broker.connections` says, or fewer for want of descriptors; then the log says so.
[[nodiscard]] PeerLimits peer_limits(const BrokerSettings& settings, std::size_t descriptors);

class Admission {
 public:
  explicit Admission(const BrokerSettings& settings) : peers_(peer_limits(settings, descriptors_most()), tcp_) {}

  [[nodiscard]] Peers& peers() { return peers_; }
  void on_monitor(Instant now, const async::MonitorEvent& event);
  /// A frame was taken.
  void took() { ++taken_; }
  /// Looks, if it is time, and if all that was whole at the last look has been taken: nothing waits now (`drained`), or
  /// so much was taken since that each connection has had its turn (libzmq takes from all in turns).
  void look_if_due(Instant now, bool drained);
  /// Why a new session is not taken, which is logged too; empty if it is taken.
  [[nodiscard]] std::string why_full();

 private:
  KernelTcp tcp_;
  Peers peers_;
  std::uint64_t taken_ = 0;  ///< frames, since the last look
  std::uint64_t ended_ = 0;  ///< connections that were shut, in all
  log::Limit ended_limit_{std::chrono::seconds(1)};
  log::Limit failed_limit_;
  log::Limit full_limit_;
};

}  // namespace weir::broker
