#pragma once

/// One ZeroMQ socket in an Asio loop.
///
/// libzmq's descriptor says "there are commands", not "there is a message", and every call on the socket may eat that
/// signal. So one waiter alone waits on it; receiving and sending are two steps of its turn; and it looks at ZMQ_EVENTS
/// after every batch before it sleeps. (Two waiters on one socket were seen to hang after 61,000 messages.)
///
/// Thread: the executor's one thread, for everything but the constructor of the context.

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "weir/async/zmq_frame.hpp"
#include "weir/message/units.hpp"

namespace weir::async {

namespace asio = boost::asio;

/// Dealer: a client; messages are one body frame. Router: a server; a routing id and exactly one body frame.
enum class SocketKind { dealer, router };

struct SocketOptions {
  SocketKind kind = SocketKind::dealer;
  /// A larger frame ends the connection. Always set: libzmq's default is no limit.
  std::size_t frame_bytes_most = 16 * 1024 * 1024 + 64 * 1024;
  /// In messages; a peer may thus make us hold so many frames. 0: no limit; right where the protocol's credit is one.
  ///
  /// At the limit libzmq stops reading, and a peer that goes away meanwhile is noticed late (see dead_after).
  int received_most = 0;
  /// How long close waits for what was sent; libzmq's default is for ever.
  std::chrono::milliseconds linger{0};
  /// Ends a connection whose peer's machine is silent for so long, by TCP keep-alives; 0: never.
  ///
  /// Not by ZMTP heartbeats: libzmq 4.3.4 aborts the process (`Assertion failed: !_io_error`) when one is due on a
  /// connection that was lost while its input was stopped at `received_most`. A worker that blocked its loop, and so
  /// did not take its BEATs, was seen to die of it.
  std::chrono::seconds dead_after{0};
  /// Reports connection events to on_monitor.
  bool monitor = false;
};

/// What a socket's monitor says; only what a session ends by, and what a log wants.
struct MonitorEvent {
  enum class Kind { connected, disconnected, closed, handshake_failed, key_refused, accepted, accept_failed } kind{};
  /// connected, disconnected, accepted: the descriptor. accept_failed: errno.
  std::uint32_t value{};
  std::string endpoint;
};

/// Who owns a pump. The callbacks run on the loop, one at a time; the pump may be destroyed from within any of them.
class PumpOwner {
 public:
  virtual ~PumpOwner() = default;
  /// A body frame. `peer` is its routing id (router), else empty; it is a view for the call only.
  virtual void on_frame(std::string_view peer, ZmqFrame frame) = 0;
  /// A message of `parts` body frames, where one is right.
  virtual void on_malformed(std::string_view peer, std::size_t parts) {
    (void)peer;
    (void)parts;
  }
  /// Router: the peer is gone, or cannot be sent to; the frame was dropped.
  virtual void on_unreachable(std::string_view peer) { (void)peer; }
  /// After each batch of received frames (at most 64), also an empty one after a kick: act on it, and send.
  virtual void on_turn() {}
  virtual void on_monitor(const MonitorEvent& event) { (void)event; }
};

class ZmqPump {
 public:
  /// Throws: Error when the socket cannot be made.
  ZmqPump(const asio::any_io_executor& executor, ZmqContext& context, const SocketOptions& options, PumpOwner& owner);
  ZmqPump(const ZmqPump&) = delete;
  ZmqPump& operator=(const ZmqPump&) = delete;
  /// Closes the socket; what was sent leaves for as long as `linger` allows.
  ~ZmqPump();

  /// Throws: Error, saying which endpoint and why ("address already in use").
  void bind(const std::string& endpoint);
  void connect(const std::string& endpoint);
  /// What the socket is bound to, with the port that a bind to port 0 got.
  [[nodiscard]] std::string endpoint() const;

  /// Queues a frame and wakes the pump. Never waits; what it holds is bounded by the protocol's credit.
  void send(ZmqFrame frame);
  void send(std::string_view peer, ZmqFrame frame);
  /// Has a turn run soon, though nothing arrived.
  void kick();
  /// Calls on_monitor now for what the monitor has: of a frame that was received, its connection's `accepted` at least.
  void read_monitor();
  /// The last turn left no whole message unread.
  [[nodiscard]] bool drained() const noexcept;
  /// Frames queued here and not yet taken by libzmq.
  [[nodiscard]] std::size_t queued() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the handlers under way, which find it closed
};

}  // namespace weir::async
