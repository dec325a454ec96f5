#include "weir/broker/peers.hpp"

#include <algorithm>
#include <utility>

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

/// The time between looks. `soon`: a peer is suspected. `often`: there are strangers (one may send 1 KB per µs), or
/// peers that do not read; `often_for_many` if they are many. `seldom`: else.
constexpr Duration soon = 2ms;
constexpr Duration often = 5ms;
constexpr Duration often_for_many = 25ms;
constexpr std::size_t many = 64;
constexpr Duration seldom = 50ms;
/// The fewest connections that one look takes of all, and in how many looks all are taken.
constexpr std::size_t slice_least = 256;
constexpr std::size_t slices = 8;
/// A peer with more than this unfinished is looked at each time.
constexpr std::uint64_t worth_watching = 256ULL * 1024;
/// More than the core can have sent: it means that nothing is unread.
constexpr std::uint64_t all_of_it = ~std::uint64_t{0};
/// So many times the patience for a peer that has sent a whole message: a HELLO in parts has its own time in the core.
constexpr int patience_for_parts = 3;

std::string milliseconds(Duration time) { return std::to_string(time.count() / 1000) + " ms"; }

}  // namespace

void Peers::accepted(Instant now, int descriptor) {
  closed(descriptor);  // in case its end was missed
  auto peer = std::make_unique<Peer>();
  peer->id = {descriptor, ++serials_};
  peer->address = tcp_.peer_of(descriptor);
  if (peer->address.empty()) return;  // not TCP, or gone already
  peer->since = peer->acked_at = now;
  peer->stranger = ++serials_;
  strangers_.emplace(peer->stranger, descriptor);
  const auto index = static_cast<std::size_t>(descriptor);
  if (peers_.size() <= index) peers_.resize(index + 1);
  peers_[index] = std::move(peer);
  if (count_++ == 0) last_look_ = now;  // without peers there are no looks
  next_look_ = std::min(next_look_, now + often);
}

void Peers::closed(int descriptor) {
  const Peer* peer = at(descriptor);
  if (peer == nullptr) return;
  if (peer->stranger != 0) strangers_.erase(peer->stranger);
  if (peer->shut) {
    --leaving_;
    if (peer->connection != 0) gone_.push_back(peer->connection);
  }
  unread_ -= peer->unread;
  watched_.erase(descriptor);
  peers_[static_cast<std::size_t>(descriptor)].reset();
  --count_;
}

PeerId Peers::meet(int descriptor, core::Connection connection) {
  Peer* peer = at(descriptor);
  if (peer == nullptr) return {};
  peer->connection = connection;
  peer->met = peer->heard = true;
  return peer->id;
}

void Peers::welcomed(PeerId id) {
  Peer* peer = find(id);
  if (peer == nullptr || peer->shut || peer->stranger == 0) return;
  strangers_.erase(std::exchange(peer->stranger, 0));
}

void Peers::ended(Instant now, PeerId id) {
  Peer* peer = find(id);
  if (peer == nullptr || peer->shut) return;
  peer->since = now;
  if (peer->stranger != 0) return;
  peer->stranger = ++serials_;
  strangers_.emplace(peer->stranger, id.descriptor);
}

std::vector<Peers::Ended> Peers::look(Instant now) {
  ++looks_;
  if (now - last_look_ > limits_.patience / 4) fresh_since_ = now;
  last_look_ = now;
  // The newest are about to say HELLO; all that have said it were answered before this look.
  const std::size_t borne = std::exchange(pressed_, false) ? limits_.strangers / 2 : limits_.strangers;
  while (strangers_.size() > borne) {
    shut(*at(strangers_.begin()->second),
         "of more than " + std::to_string(borne) + " connections without a session it was the oldest");
  }
  std::vector<int> each;
  each.reserve(strangers_.size() + watched_.size());
  for (const auto& [order, descriptor] : strangers_) each.push_back(descriptor);
  each.insert(each.end(), watched_.begin(), watched_.end());
  for (const int descriptor : each) look_at(now, *at(descriptor));
  look_at_slice(now);
  if (unread_ > limits_.unread_most.value) shut_who_has_most_unread();
  const bool suspected = std::any_of(watched_.begin(), watched_.end(), [this](int d) { return at(d)->suspected; });
  next_look_ = count_ == 0                                  ? Instant::max()
               : suspected                                  ? now + soon
               : strangers_.empty() && watched_.empty()     ? now + seldom
               : strangers_.size() + watched_.size() < many ? now + often
                                                            : now + often_for_many;
  return std::exchange(ended_, {});
}

void Peers::look_at_slice(Instant now) {
  std::size_t left = std::max(slice_least, count_ / slices);
  for (std::size_t passed = 0; passed < peers_.size() && left > 0; ++passed) {
    turn_ = turn_ + 1 < peers_.size() ? turn_ + 1 : 0;
    if (!peers_[turn_]) continue;
    look_at(now, *peers_[turn_]);
    --left;
  }
}

void Peers::look_at(Instant now, Peer& peer) {
  if (peer.shut || std::exchange(peer.looked, looks_) == looks_) return;
  if (std::string why = why_not_welcomed(now, peer); !why.empty()) return shut(peer, std::move(why));
  const auto seen = tcp_.look(peer.id.descriptor);
  if (!seen) return;
  if (std::string why = why_too_much(peer, *seen); !why.empty()) return shut(peer, std::move(why));
  if (std::string why = why_unread(now, peer, *seen); !why.empty()) return shut(peer, std::move(why));
  if (peer.suspected || seen->queued || peer.received - peer.received_then > worth_watching) {
    watched_.insert(peer.id.descriptor);
  } else {
    watched_.erase(peer.id.descriptor);
  }
}

std::string Peers::why_not_welcomed(Instant now, const Peer& peer) const {
  if (peer.stranger == 0) return {};
  const Duration patience = limits_.patience * (peer.met ? patience_for_parts : 1);
  if (now - std::max(peer.since, fresh_since_) <= patience) return {};
  return (peer.met ? "it was without a session for " : "no HELLO within ") + milliseconds(patience);
}

std::string Peers::why_too_much(Peer& peer, const TcpLook& seen) {
  peer.received = seen.received;
  if (std::exchange(peer.heard, false)) {
    // Bytes of an unfinished message came after a message that was whole: at the earliest since the last look, which
    // bounds them too.
    peer.received_then = seen.received;
    peer.suspected = false;
    return {};
  }
  const std::uint64_t most = (peer.stranger == 0 ? limits_.unfinished_most : limits_.unfinished_of_strangers).value;
  std::uint64_t unfinished = seen.received - peer.received_then;
  // Bytes that are still in the kernel are not part of a message yet.
  if (unfinished > most) unfinished -= std::min(unfinished, tcp_.unread(peer.id.descriptor));
  if (unfinished <= most) {
    peer.suspected = false;
    return {};
  }
  if (!std::exchange(peer.suspected, true)) return {};  // a whole message may have been on its way to the socket
  return "it sent " + std::to_string(unfinished) + " bytes of a message that has no end; at most " +
         std::to_string(most) + (peer.stranger == 0 ? "" : " before a session");
}

std::string Peers::why_unread(Instant now, Peer& peer, const TcpLook& seen) {
  if (!seen.queued || seen.acked != peer.acked) peer.acked_at = now;
  note_read(peer, seen);
  const Duration stands = now - std::max(peer.acked_at, fresh_since_);
  if (stands <= limits_.patience) return {};
  return "it has read nothing of what it was sent for " + milliseconds(stands);
}

void Peers::look_what_it_read(Peer& peer) {
  if (peer.shut) return;
  if (const auto seen = tcp_.look(peer.id.descriptor)) note_read(peer, *seen);
}

void Peers::note_read(Peer& peer, const TcpLook& seen) {
  const std::uint64_t before = std::exchange(peer.acked, seen.acked);
  if (seen.acked != before) peer.acked_at = std::max(peer.acked_at, last_look_);
  // The framing of a message, and what libzmq sends by itself, is not counted when it is sent. So, with nothing queued,
  // and nothing sent since the last look that libzmq might not have begun, all is read.
  if ((!seen.queued && peer.sent == peer.sent_then) || peer.sent < seen.acked) peer.sent = seen.acked;
  peer.sent_then = peer.sent;
  unread_ -= peer.unread;
  peer.unread = peer.sent - peer.acked;
  unread_ += peer.unread;
  if (seen.acked == before || peer.connection == 0) return;
  read_.push_back({peer.connection, Bytes{peer.unread == 0 ? all_of_it : seen.acked - before}});
}

void Peers::shut_who_has_most_unread() {
  Peer* most = nullptr;
  for (const auto& peer : peers_) {
    if (peer && !peer->shut && (most == nullptr || peer->unread > most->unread)) most = peer.get();
  }
  // One largest message for each peer is not a peer's fault.
  if (most == nullptr || most->unread <= limits_.unfinished_most.value) return;
  shut(*most, "it has not read " + std::to_string(most->unread) + " bytes, the most of " + std::to_string(unread_) +
                  " that all together have not");
}

void Peers::shut(Peer& peer, std::string why) {
  tcp_.shut(peer.id.descriptor, peer.address);
  peer.shut = true;
  ++leaving_;
  if (peer.stranger != 0) strangers_.erase(std::exchange(peer.stranger, 0));
  watched_.erase(peer.id.descriptor);
  ended_.push_back({peer.address, std::move(why), peer.connection});
}

}  // namespace weir::broker
