#pragma once

/// Peers whose frames cost much, and their frames that wait.
///
/// A frame of 64 KiB is sent in about 30 µs, and may cost its receiver 50 times as much. Ten such peers with a tenth of
/// a core would have all of the loop. So a peer that sent a frame that took long is *heavy* for a while. Its frames
/// wait, unparsed and in order, for the part of the loop's time that is left for what takes long (later.hpp). If no
/// other peer sends anything, that is all of it.

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "weir/async/zmq_frame.hpp"
#include "weir/message/units.hpp"

namespace weir::broker {

class Heavy {
 public:
  /// The most bytes of frames that wait, of one peer and of all. By its credit, an honest peer has no more under way.
  static constexpr std::size_t bytes_most = 32 * 1024 * 1024;
  static constexpr std::size_t all_bytes_most = 128 * 1024 * 1024;

  /// How long frames that waited are handled in one go.
  static constexpr Duration handled_for = std::chrono::milliseconds(1);

  struct Waiting {
    std::string peer;
    async::ZmqFrame frame;
  };

  /// True if a frame of this peer must wait.
  [[nodiscard]] bool is_heavy(std::string_view peer, Instant now) {
    if (peers_.empty()) return false;
    const auto at = peers_.find(peer);
    if (at == peers_.end()) return false;
    if (now < at->second.until || !at->second.frames.empty()) return true;
    peers_.erase(at);
    return false;
  }
  /// False: too much waits; the peer's frames are dropped.
  bool hold(std::string_view peer, async::ZmqFrame frame) {
    Peer& one = peers_.find(peer)->second;
    const std::size_t size = frame.size() + frame_bytes;
    if (one.bytes + size > bytes_most || bytes_ + size > all_bytes_most) {
      drop(one);
      return false;
    }
    if (one.frames.empty()) turns_.emplace_back(peer);
    one.bytes += size;
    bytes_ += size;
    one.frames.push_back(std::move(frame));
    return true;
  }
  /// The next frame, from each peer in turn; nothing if none waits.
  [[nodiscard]] std::optional<Waiting> next() {
    while (!turns_.empty()) {
      std::string peer = std::move(turns_.front());
      turns_.pop_front();
      const auto at = peers_.find(peer);
      if (at == peers_.end() || at->second.frames.empty()) continue;  // its frames were dropped
      Peer& one = at->second;
      Waiting next{peer, std::move(one.frames.front())};
      one.frames.pop_front();
      const std::size_t size = next.frame.size() + frame_bytes;
      one.bytes -= size;
      bytes_ -= size;
      if (!one.frames.empty()) turns_.push_back(std::move(peer));
      return next;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool waits() const { return !turns_.empty(); }

  /// Notes the time that a frame of this peer took.
  void took(std::string_view peer, Instant begun, Instant ended) {
    if (ended - begun < much) return;
    auto at = peers_.find(peer);
    if (at == peers_.end()) {
      // Forgets peers whose time is out, and of which no frame waits.
      if (peers_.size() >= peers_kept) std::erase_if(peers_, [&](const auto& p) { return is_over(p.second, ended); });
      at = peers_.emplace(std::string(peer), Peer{}).first;
    }
    at->second.until = ended + heavy_for;
  }

 private:
  static constexpr Duration much = std::chrono::microseconds(150);
  static constexpr Duration heavy_for = std::chrono::seconds(1);
  static constexpr std::size_t frame_bytes = 128;  // what a frame takes beside its bytes
  static constexpr std::size_t peers_kept = 1024;

  struct Peer {
    Instant until;
    std::deque<async::ZmqFrame> frames;
    std::size_t bytes{};
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  static bool is_over(const Peer& peer, Instant now) { return now >= peer.until && peer.frames.empty(); }
  void drop(Peer& peer) {
    bytes_ -= std::exchange(peer.bytes, 0);
    peer.frames.clear();
  }

  std::unordered_map<std::string, Peer, Hash, std::equal_to<>> peers_;
  std::deque<std::string> turns_;
  std::size_t bytes_{};
};

}  // namespace weir::broker
