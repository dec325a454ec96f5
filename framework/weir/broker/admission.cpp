#include "weir/broker/admission.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "weir/protocol/limits.hpp"

namespace weir::broker {
namespace {

/// Descriptors that are no connections: the store's, the log's, libzmq's own.
constexpr std::size_t own_descriptors = 48;
/// The most frames of one connection that libzmq may have ready: it stops reading at 16, with as many on their way.
constexpr std::uint64_t ready_most = 32;
/// What a frame may hold beside its largest message, and what arrives between two looks at a slow connection.
constexpr std::uint64_t beside_message = protocol::frame_head_most + 1024ULL * 1024;

}  // namespace

PeerLimits peer_limits(const BrokerSettings& settings, std::size_t descriptors) {
  PeerLimits limits;
  limits.unfinished_most = Bytes{settings.message_most.value + beside_message};
  limits.patience = settings.session_timeout;
  const std::size_t for_peers = descriptors > 2 * own_descriptors ? descriptors - own_descriptors : descriptors / 2;
  limits.strangers = std::min(limits.strangers, std::max<std::size_t>(1, for_peers / 4));
  limits.connections = std::min(settings.connections, for_peers - limits.strangers);
  if (limits.connections < settings.connections) {
    log::warn("few_descriptors",
              {{"descriptors", descriptors},
               {"connections", limits.connections},
               {"wanted", settings.connections},
               {"do", "raise the hard limit (ulimit -Hn, LimitNOFILE), or lower broker.connections"}});
  }
  return limits;
}

void Admission::on_monitor(Instant now, const async::MonitorEvent& event) {
  using Kind = async::MonitorEvent::Kind;
  switch (event.kind) {
    case Kind::accepted:
      return peers_.accepted(now, static_cast<int>(event.value));
    case Kind::disconnected:
      return peers_.closed(static_cast<int>(event.value));
    case Kind::accept_failed:
      if (event.value == EMFILE || event.value == ENFILE) peers_.pressed();
      log::warn(failed_limit_, "cannot_accept",
                {{"why", std::strerror(static_cast<int>(event.value))}, {"connections", peers_.size()}});
      return;
    default:
      return;
  }
}

void Admission::look_if_due(Instant now, bool drained) {
  if (now < peers_.next_look() || (!drained && taken_ < ready_most * (peers_.size() + 1))) return;
  taken_ = 0;
  for (const Peers::Ended& ended : peers_.look(now)) {
    ++ended_;
    log::warn(ended_limit_, "connection_shut",
              {{"peer", ended.peer}, {"why", ended.why}, {"connections", peers_.size()}, {"shut_in_all", ended_}});
  }
}

std::string Admission::why_full() {
  if (!peers_.full()) return {};
  log::warn(full_limit_, "connections_full",
            {{"connections", peers_.size()},
             {"most", peers_.limits().connections},
             {"do", "raise broker.connections and the limit of open files, or run fewer clients"}});
  return "this broker takes no more than " + std::to_string(peers_.limits().connections) +
         " connections at once; raise broker.connections and its limit of open files, or run fewer clients";
}

}  // namespace weir::broker
