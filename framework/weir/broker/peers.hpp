#pragma once

/// The peer at the other end of each TCP connection, and whether it may stay.
///
/// libzmq holds what it has read of a message until the message is whole, however many parts come, and what was sent to
/// a peer until the kernel takes it. It bounds neither. So the kernel's counts for each connection are looked at, some
/// times per second. A connection is ended if it
/// - has sent more than a message may have since a message of it was last whole, or more than a HELLO may have before
///   it was welcomed (the difference can only be one message that is not finished);
/// - is not welcomed in time, or is the oldest of too many that are not;
/// - reads nothing, though something waits for it, or has the most unread while too much is unread in all.
///
/// A message that arrives costs no look: it sets a flag.
///
/// Only a connection ends, never a session's leases: an honest client comes back and claims them. A descriptor may
/// belong to another connection by the time it is shut; then its peer's address differs, and it is left alone.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "weir/broker/core/action.hpp"
#include "weir/broker/tcp.hpp"
#include "weir/message/units.hpp"

namespace weir::broker {

struct PeerLimits {
  std::size_t connections = 10'000;  ///< with a session
  std::size_t strangers = 256;       ///< without one
  Bytes unfinished_most;             ///< of a message, with its framing
  Bytes unfinished_of_strangers{128ULL * 1024};
  Bytes unread_most{128ULL * 1024 * 1024};       ///< by all peers together; the core acts on workers before that
  Duration patience = std::chrono::seconds(10);  ///< for a HELLO, and for a peer that reads nothing
};

/// One connection. Its descriptor may be used again for another one later.
struct PeerId {
  int descriptor = -1;
  std::uint64_t serial{};
};

class Peers {
 public:
  /// `tcp` must outlive it.
  Peers(PeerLimits limits, Tcp& tcp) : limits_(limits), tcp_(tcp) {}

  void accepted(Instant now, int descriptor);
  void closed(int descriptor);
  /// A first frame came by this connection, whose sender is `connection` in the core from now on.
  [[nodiscard]] PeerId meet(int descriptor, core::Connection connection);
  /// A whole message came.
  void heard(PeerId id) {
    if (Peer* peer = find(id)) peer->heard = true;
  }
  /// A frame of so many bytes is on its way to it.
  void sent(PeerId id, std::size_t bytes) {
    Peer* peer = find(id);
    if (peer == nullptr) return;
    peer->sent += bytes;
    if (peer->sent - peer->sent_then > worth_a_look) look_what_it_read(*peer);
  }
  /// The peer has a session.
  void welcomed(PeerId id);
  /// The peer's session is over.
  void ended(Instant now, PeerId id);
  /// True if there are as many connections with a session as may be.
  [[nodiscard]] bool full() const { return count_ - strangers_.size() - leaving_ >= limits_.connections; }
  /// Descriptors have run out: the next look leaves half as many strangers.
  void pressed() { pressed_ = true; }

  struct Ended {
    std::string peer;  ///< its address
    std::string why;
    core::Connection connection{};  ///< 0: it never sent a whole message
  };
  /// Call it when all that is whole was taken since the last call. Returns the peers that it shut.
  [[nodiscard]] std::vector<Ended> look(Instant now);
  /// When look() should be called again.
  [[nodiscard]] Instant next_look() const { return next_look_; }
  /// The core's connections that were shut, and were closed since the last call.
  [[nodiscard]] std::vector<core::Connection> take_gone() { return std::exchange(gone_, {}); }

  struct Read {
    core::Connection connection{};
    Bytes bytes;
  };
  /// How much each peer has read of what it was sent, since the last call.
  [[nodiscard]] std::vector<Read> take_read() { return std::exchange(read_, {}); }

  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] std::size_t strangers() const { return strangers_.size(); }
  [[nodiscard]] const PeerLimits& limits() const { return limits_; }

 private:
  /// Once so much was sent to a peer, what it has read is looked up at once.
  static constexpr std::uint64_t worth_a_look = 1024ULL * 1024;

  struct Peer {
    PeerId id;
    std::string address;
    core::Connection connection{};
    Instant since;             ///< when it was accepted, or lost its session
    std::uint64_t stranger{};  ///< its place among the strangers; 0: welcomed
    bool met = false;
    bool heard = false;  ///< a whole message came since the last look
    bool shut = false;
    bool suspected = false;         ///< it had sent too much at the last look
    std::uint64_t looked{};         ///< the look that last looked at it
    std::uint64_t received{};       ///< at the last look
    std::uint64_t received_then{};  ///< at the last look after a message of it was whole
    std::uint64_t acked{};
    std::uint64_t sent{};
    std::uint64_t sent_then{};  ///< at the last look
    std::uint64_t unread{};     ///< of what was sent, at the last look
    Instant acked_at;           ///< when it was last seen to read, or had nothing to
  };

  [[nodiscard]] Peer* at(int descriptor) const {
    const auto index = static_cast<std::size_t>(descriptor);
    return descriptor >= 0 && index < peers_.size() ? peers_[index].get() : nullptr;
  }
  [[nodiscard]] Peer* find(PeerId id) const {
    Peer* peer = at(id.descriptor);
    return peer != nullptr && peer->id.serial == id.serial ? peer : nullptr;
  }
  void look_at_slice(Instant now);
  void look_at(Instant now, Peer& peer);
  [[nodiscard]] std::string why_not_welcomed(Instant now, const Peer& peer) const;
  [[nodiscard]] std::string why_too_much(Peer& peer, const TcpLook& seen);
  [[nodiscard]] std::string why_unread(Instant now, Peer& peer, const TcpLook& seen);
  void look_what_it_read(Peer& peer);
  void note_read(Peer& peer, const TcpLook& seen);
  void shut_who_has_most_unread();
  void shut(Peer& peer, std::string why);

  PeerLimits limits_;
  Tcp& tcp_;
  std::vector<std::unique_ptr<Peer>> peers_;  ///< by descriptor
  std::size_t count_ = 0;
  std::map<std::uint64_t, int> strangers_;  ///< the oldest first
  std::unordered_set<int> watched_;         ///< those that are looked at each time
  std::size_t leaving_ = 0;                 ///< shut, and not closed yet
  std::vector<Ended> ended_;                ///< of this look
  std::vector<core::Connection> gone_;
  std::vector<Read> read_;
  std::uint64_t unread_ = 0;  ///< by all peers
  std::uint64_t serials_ = 0;
  std::uint64_t looks_ = 0;
  std::size_t turn_ = 0;  ///< the descriptor that a look at a slice took last
  bool pressed_ = false;
  Instant last_look_;
  Instant fresh_since_;  ///< this process itself was away before this
  Instant next_look_ = Instant::max();
};

}  // namespace weir::broker
