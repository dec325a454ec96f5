#include "weir/async/zmq_pump.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "weir/async/forked_copy.hpp"
#include "weir/message/error.hpp"

namespace weir::async {
namespace {

/// Frames per turn. Other work on the loop runs between turns.
constexpr int frames_a_turn = 64;

[[noreturn]] void fail(const std::string& what) { throw Error(what + ": " + zmq_strerror(zmq_errno())); }

void set(void* socket, int option, int value) {
  if (zmq_setsockopt(socket, option, &value, sizeof value) != 0) fail("zmq option " + std::to_string(option));
}

int descriptor_of(void* socket) {
  int fd = -1;
  std::size_t size = sizeof fd;
  if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) fail("zmq descriptor");
  return fd;
}

/// Runs libzmq's commands, and returns what is possible now.
int events_of(void* socket) {
  int events = 0;
  std::size_t size = sizeof events;
  while (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) != 0) {
    if (zmq_errno() != EINTR) fail("zmq events");
  }
  return events;
}

bool receive(void* socket, ZmqFrame& frame) {
  while (zmq_msg_recv(frame.raw(), socket, ZMQ_DONTWAIT) < 0) {
    if (zmq_errno() == EAGAIN) return false;
    if (zmq_errno() != EINTR) fail("zmq receive");
  }
  return true;
}

enum class Sent { yes, later, unreachable };

Sent transmit(void* socket, ZmqFrame& frame, int flags) {
  while (zmq_msg_send(frame.raw(), socket, ZMQ_DONTWAIT | flags) < 0) {
    switch (zmq_errno()) {
      case EAGAIN:
        return Sent::later;
      case EHOSTUNREACH:
        return Sent::unreachable;
      case EINTR:
        break;
      default:
        fail("zmq send");
    }
  }
  return Sent::yes;
}

bool more_follows(ZmqFrame& frame) { return zmq_msg_more(frame.raw()) != 0; }

/// A monitor's events per call. Other work on the loop runs between calls.
constexpr int events_a_call = 256;

constexpr int monitored = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                          ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
/// The events of a router: connections of peers, and why a connection failed.
constexpr int monitored_of_router = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED;

MonitorEvent::Kind kind_of(std::uint16_t event) {
  switch (event) {
    case ZMQ_EVENT_CONNECTED:
      return MonitorEvent::Kind::connected;
    case ZMQ_EVENT_DISCONNECTED:
      return MonitorEvent::Kind::disconnected;
    case ZMQ_EVENT_CLOSED:
      return MonitorEvent::Kind::closed;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      return MonitorEvent::Kind::key_refused;
    case ZMQ_EVENT_ACCEPTED:
      return MonitorEvent::Kind::accepted;
    case ZMQ_EVENT_ACCEPT_FAILED:
      return MonitorEvent::Kind::accept_failed;
    default:
      return MonitorEvent::Kind::handshake_failed;
  }
}

}  // namespace

struct ZmqPump::State : std::enable_shared_from_this<State> {
  State(const asio::any_io_executor& ex, PumpOwner& o)
      : executor(ex), owner(&o), descriptor(ex), monitor_descriptor(ex) {}

  struct Queued {
    std::string peer;  // 5 bytes: no allocation
    ZmqFrame frame;
  };

  asio::any_io_executor executor;
  PumpOwner* owner;
  void* socket = nullptr;
  void* monitor = nullptr;
  asio::posix::stream_descriptor descriptor;
  asio::posix::stream_descriptor monitor_descriptor;
  std::deque<Queued> outbox;
  bool router = false;
  bool closed = false;
  bool in_turn = false;    // a turn is on the stack: its end looks at the outbox
  bool scheduled = false;  // a turn is posted
  bool waiting = false;    // an async_wait is out
  bool drained = false;    // the last turn left nothing that could be received

  void open(ZmqContext& context, const SocketOptions& options);
  void open_monitor(ZmqContext& context);
  void close();
  void schedule();
  void wait();
  void turn();
  void receive_one(ZmqFrame first);
  void transmit_all();
  void wait_monitor();
  void watch_monitor();
  void read_on();
  void read_monitor();
};

void ZmqPump::State::open(ZmqContext& context, const SocketOptions& options) {
  router = options.kind == SocketKind::router;
  socket = zmq_socket(context.raw(), router ? ZMQ_ROUTER : ZMQ_DEALER);
  if (socket == nullptr) fail("zmq socket");
  set(socket, ZMQ_LINGER, static_cast<int>(options.linger.count()));
  set(socket, ZMQ_RCVHWM, options.received_most);
  // 0: no mark at which libzmq drops frames or lets them wait. Credit bounds the frames under way.
  set(socket, ZMQ_SNDHWM, 0);
  const auto most = static_cast<std::int64_t>(options.frame_bytes_most);
  if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0) fail("zmq option MAXMSGSIZE");
  if (options.dead_after.count() > 0) {
    const int interval = std::max(1, static_cast<int>(options.dead_after.count() / 4));
    set(socket, ZMQ_TCP_KEEPALIVE, 1);
    set(socket, ZMQ_TCP_KEEPALIVE_IDLE, interval);
    set(socket, ZMQ_TCP_KEEPALIVE_INTVL, interval);
    set(socket, ZMQ_TCP_KEEPALIVE_CNT, 3);
  }
  if (router) {
    set(socket, ZMQ_ROUTER_MANDATORY, 1);  // else frames to a lost peer vanish silently
    set(socket, ZMQ_BACKLOG, 1024);
  } else {
    set(socket, ZMQ_RECONNECT_IVL, -1);  // libzmq's own reconnect loses frames in mid-stream and carries on
    set(socket, ZMQ_IMMEDIATE, 1);       // nothing is queued for a peer that is not there
  }
  if (options.monitor) open_monitor(context);
  descriptor.assign(descriptor_of(socket));
}

void ZmqPump::State::open_monitor(ZmqContext& context) {
  static std::atomic<std::uint64_t> count{0};
  const std::string endpoint = "inproc://weir-monitor-" + std::to_string(++count);
  if (zmq_socket_monitor(socket, endpoint.c_str(), router ? monitored_of_router : monitored) != 0) fail("zmq monitor");
  monitor = zmq_socket(context.raw(), ZMQ_PAIR);
  if (monitor == nullptr) fail("zmq monitor");
  set(monitor, ZMQ_LINGER, 0);
  // With a mark, libzmq's I/O thread, and all connections with it, could wait for the monitor's reader.
  set(monitor, ZMQ_RCVHWM, 0);
  if (zmq_connect(monitor, endpoint.c_str()) != 0) fail("zmq monitor");
  monitor_descriptor.assign(descriptor_of(monitor));
}

void ZmqPump::State::close() {
  closed = true;
  outbox.clear();
  // The descriptors are libzmq's, which aborts if other code closes them.
  if (descriptor.is_open()) descriptor.release();
  if (monitor_descriptor.is_open()) monitor_descriptor.release();
  if (monitor != nullptr) {
    if (socket != nullptr) zmq_socket_monitor(socket, nullptr, 0);
    zmq_close(std::exchange(monitor, nullptr));
  }
  if (socket != nullptr) zmq_close(std::exchange(socket, nullptr));
}

void ZmqPump::State::schedule() {
  if (closed || in_turn || scheduled) return;
  scheduled = true;
  asio::post(executor, [self = shared_from_this()] {
    self->scheduled = false;
    self->turn();
  });
}

void ZmqPump::State::wait() {
  // A wait that is still pending after a kick is enough: each signal is a new edge, and ZMQ_EVENTS was looked at last.
  if (waiting) return;
  waiting = true;
  descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                        [self = shared_from_this()](const boost::system::error_code& error) {
                          self->waiting = false;
                          if (!error && !self->scheduled) self->turn();
                        });
}

void ZmqPump::State::turn() {
  end_if_copy();
  if (closed) return;
  in_turn = true;
  ZmqFrame frame;
  drained = false;
  for (int n = 0; n < frames_a_turn && !closed && !drained; ++n) {
    drained = !receive(socket, frame);
    if (!drained) receive_one(std::move(frame));
  }
  if (!closed) owner->on_turn();
  if (!closed) transmit_all();
  in_turn = false;
  if (closed) return;
  const int events = events_of(socket);
  if ((events & ZMQ_POLLIN) != 0 || ((events & ZMQ_POLLOUT) != 0 && !outbox.empty())) {
    schedule();
  } else {
    wait();
  }
}

void ZmqPump::State::receive_one(ZmqFrame first) {
  if (!router && !more_follows(first)) return owner->on_frame({}, std::move(first));

  // If the first part of a message is there, all parts are: libzmq delivers messages whole.
  std::string peer;
  std::size_t parts = 0;
  bool more = more_follows(first);
  ZmqFrame body;
  if (router) {
    peer = first.bytes();
  } else {
    parts = 1;
  }
  while (more && receive(socket, body)) {
    ++parts;
    more = more_follows(body);
  }
  if (parts == 1) {
    owner->on_frame(peer, std::move(body));
  } else {
    owner->on_malformed(peer, parts);
  }
}

void ZmqPump::State::transmit_all() {
  while (!closed && !outbox.empty()) {
    auto& next = outbox.front();
    Sent sent = Sent::yes;
    if (router) {
      ZmqFrame id{std::string_view(next.peer)};
      sent = transmit(socket, id, ZMQ_SNDMORE);
      // "Later" does not happen without a send mark. If the frame were kept, a router that can write to any peer would
      // spin.
      if (sent == Sent::later) sent = Sent::unreachable;
    }
    if (sent == Sent::yes) sent = transmit(socket, next.frame, 0);
    if (sent == Sent::later) return;
    if (sent == Sent::unreachable) {
      const std::string peer = std::move(next.peer);
      outbox.pop_front();
      owner->on_unreachable(peer);
    } else {
      outbox.pop_front();
    }
  }
}

void ZmqPump::State::wait_monitor() {
  monitor_descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                [self = shared_from_this()](const boost::system::error_code& error) {
                                  if (!error) self->watch_monitor();
                                });
}

void ZmqPump::State::watch_monitor() {
  if (!closed) read_monitor();
  if (closed) return;
  // Waits only once libzmq has nothing: then its descriptor is quiet, and waiting for it is safe.
  if ((events_of(monitor) & ZMQ_POLLIN) == 0) return wait_monitor();
  asio::post(executor, [self = shared_from_this()] { self->watch_monitor(); });
}

void ZmqPump::State::read_on() {
  if (!closed) read_monitor();
  // The waiter for the descriptor may not wake: this call may have consumed its signal.
  if (closed || (events_of(monitor) & ZMQ_POLLIN) == 0) return;
  asio::post(executor, [self = shared_from_this()] { self->read_on(); });
}

void ZmqPump::State::read_monitor() {
  ZmqFrame event;
  ZmqFrame address;
  for (int n = 0; n < events_a_call && !closed && receive(monitor, event); ++n) {
    if (!more_follows(event) || !receive(monitor, address) || event.size() < 6) continue;
    std::uint16_t code = 0;
    MonitorEvent told;
    std::memcpy(&code, event.data(), sizeof code);
    std::memcpy(&told.value, event.data() + 2, sizeof told.value);
    told.kind = kind_of(code);
    told.endpoint = address.bytes();
    owner->on_monitor(told);
    schedule();  // the owner may have work soon, and nothing else may wake it
  }
}

ZmqPump::ZmqPump(const asio::any_io_executor& executor, ZmqContext& context, const SocketOptions& options,
                 PumpOwner& owner)
    : state_(std::make_shared<State>(executor, owner)) {
  try {
    state_->open(context, options);
  } catch (...) {
    state_->close();
    throw;
  }
  if (state_->monitor != nullptr) {
    asio::post(executor, [state = state_] { state->watch_monitor(); });
  }
  state_->schedule();
}

ZmqPump::~ZmqPump() {
  // A client's last frames go to libzmq now, which keeps trying for as long as `linger` allows.
  if (!state_->router && state_->socket != nullptr) state_->transmit_all();
  state_->close();
}

void ZmqPump::bind(const std::string& endpoint) {
  if (zmq_bind(state_->socket, endpoint.c_str()) != 0) fail("cannot listen on " + endpoint);
  state_->schedule();
}

void ZmqPump::connect(const std::string& endpoint) {
  if (zmq_connect(state_->socket, endpoint.c_str()) != 0) fail("cannot connect to " + endpoint);
  state_->schedule();
}

std::string ZmqPump::endpoint() const {
  char text[256];
  std::size_t size = sizeof text;
  if (zmq_getsockopt(state_->socket, ZMQ_LAST_ENDPOINT, text, &size) != 0) fail("zmq endpoint");
  return {text, size > 0 ? size - 1 : 0};
}

void ZmqPump::send(ZmqFrame frame) { send({}, std::move(frame)); }

void ZmqPump::send(std::string_view peer, ZmqFrame frame) {
  state_->outbox.push_back({std::string(peer), std::move(frame)});
  state_->schedule();
}

void ZmqPump::kick() { state_->schedule(); }

void ZmqPump::read_monitor() {
  if (state_->monitor != nullptr) state_->read_on();
}

bool ZmqPump::drained() const noexcept { return state_->drained; }

std::size_t ZmqPump::queued() const noexcept { return state_->outbox.size(); }

}  // namespace weir::async
