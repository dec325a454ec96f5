#pragma once

/// One ZeroMQ socket in an Asio loop.
///
/// libzmq's descriptor says "there are commands", not "there is a message", and every call on the socket may consume
/// that signal. So there is one waiter. Receiving and sending are two steps of its turn, and it looks at ZMQ_EVENTS
/// after every batch before it sleeps. (Two waiters on one socket were seen to hang after 61,000 messages.)
///
/// Thread: the executor's one thread, for all but the constructor of the context.

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

/// A dealer is a client: its messages are one body frame. A router is a server: its messages are a routing id and
/// exactly one body frame.
enum class SocketKind { dealer, router };

struct SocketOptions {
  SocketKind kind = SocketKind::dealer;
  /// A larger frame ends the connection. Always set: libzmq's default is no limit.
  std::size_t frame_bytes_most = 16 * 1024 * 1024 + 64 * 1024;
  /// In messages: a peer can make this process hold as many frames. 0: no limit, which is right where the protocol's
  /// credit is the limit.
  ///
  /// At the limit libzmq stops reading, so the loss of a peer is noticed late (see dead_after).
  int received_most = 0;
  /// How long the close waits for sent frames to leave. libzmq's default is for ever.
  std::chrono::milliseconds linger{0};
  /// Ends a connection, by TCP keep-alives, if the peer's machine is silent for this long. 0: never.
  ///
  /// ZMTP heartbeats are not used: libzmq 4.3.4 aborts the process (`Assertion failed: !_io_error`) if a heartbeat is
  /// due on a connection that was lost while its input was stopped at `received_most`. A worker that blocked its loop,
  /// and so did not take its BEATs, was seen to die of that.
  std::chrono::seconds dead_after{0};
  /// Reports connection events to on_monitor.
  bool monitor = false;
};

/// An event of a socket's monitor: only those that end a session, and those for the log.
struct MonitorEvent {
  enum class Kind { connected, disconnected, closed, handshake_failed, key_refused, accepted, accept_failed } kind{};
  /// connected, disconnected, accepted: the descriptor. accept_failed: errno.
  std::uint32_t value{};
  std::string endpoint;
};

/// The owner of a pump. The callbacks run on the loop, one at a time. Each may destroy the pump.
class PumpOwner {
 public:
  virtual ~PumpOwner() = default;
  /// A body frame came. `peer` is its routing id for a router, else empty. It is a view that lives as long as the call.
  virtual void on_frame(std::string_view peer, ZmqFrame frame) = 0;
  /// A message with `parts` body frames came, instead of one.
  virtual void on_malformed(std::string_view peer, std::size_t parts) {
    (void)peer;
    (void)parts;
  }
  /// Router: the peer is gone, or cannot take frames. The frame was dropped.
  virtual void on_unreachable(std::string_view peer) { (void)peer; }
  /// Called after each batch of received frames (at most 64), also after an empty one that follows a kick. Act on the
  /// frames, and send.
  virtual void on_turn() {}
  virtual void on_monitor(const MonitorEvent& event) { (void)event; }
};

class ZmqPump {
 public:
  /// Throws: Error if the socket cannot be made.
  ZmqPump(const asio::any_io_executor& executor, ZmqContext& context, const SocketOptions& options, PumpOwner& owner);
  ZmqPump(const ZmqPump&) = delete;
  ZmqPump& operator=(const ZmqPump&) = delete;
  /// Closes the socket. Frames that were sent still leave, for as long as `linger` allows.
  ~ZmqPump();

  /// Throws: Error, with the endpoint and the reason ("address already in use").
  void bind(const std::string& endpoint);
  void connect(const std::string& endpoint);
  /// The endpoint that the socket is bound to, with the port that a bind to port 0 got.
  [[nodiscard]] std::string endpoint() const;

  /// Queues a frame and wakes the pump. Never waits. The protocol's credit bounds the queued frames.
  void send(ZmqFrame frame);
  void send(std::string_view peer, ZmqFrame frame);
  /// Makes a turn run soon, even if nothing arrived.
  void kick();
  /// Calls on_monitor now for the monitor's present events. For each received frame they include at least its
  /// connection's `accepted`.
  void read_monitor();
  /// True if the last turn left no whole message unread.
  [[nodiscard]] bool drained() const noexcept;
  /// The number of frames that are queued here, and that libzmq has not taken.
  [[nodiscard]] std::size_t queued() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with pending callbacks, which find it closed
};

}  // namespace weir::async
