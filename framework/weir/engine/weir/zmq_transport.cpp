#include "weir/engine/weir/zmq_transport.hpp"

#include <utility>

namespace weir::engine::weir_broker {
namespace {

/// 128 MiB is the largest message that a broker may allow.
constexpr std::size_t received_bytes_most = (128 + 1) * 1024 * 1024;
/// Time for a GOODBYE to leave, and for the settlements before it.
constexpr std::chrono::milliseconds linger{500};
/// Finds a TCP connection that died silently. The broker's beats find the other cases.
constexpr std::chrono::seconds dead_after{8};

class ZmqTransport final : public Transport, async::PumpOwner {
 public:
  ZmqTransport(const asio::any_io_executor& executor, async::ZmqContext& context, const std::string& endpoint,
               TransportOwner& owner)
      : owner_(owner),
        pump_(executor, context,
              {.frame_bytes_most = received_bytes_most, .linger = linger, .dead_after = dead_after, .monitor = true},
              *this) {
    pump_.connect(endpoint);
  }

  void send(std::string frame) override { pump_.send(async::ZmqFrame::of(std::move(frame))); }

 private:
  void on_frame(std::string_view, async::ZmqFrame frame) override {
    owner_.on_frame(async::ZmqFrame::share(std::move(frame)));
  }
  void on_malformed(std::string_view, std::size_t parts) override {
    owner_.on_ended("a message of " + std::to_string(parts) + " body frames, where one is right");
  }
  void on_turn() override { owner_.on_turn(); }
  void on_monitor(const async::MonitorEvent& event) override {
    using Kind = async::MonitorEvent::Kind;
    switch (event.kind) {
      case Kind::connected:
      case Kind::accepted:
      case Kind::accept_failed:
        return;
      case Kind::disconnected:
        return owner_.on_ended("the connection was lost");
      case Kind::closed:
        return owner_.on_ended("nobody listens there");
      case Kind::handshake_failed:
        return owner_.on_ended("the handshake failed: what listens there may not be a Weir broker");
      case Kind::key_refused:
        return owner_.on_ended("the broker refused this key");
    }
  }

  TransportOwner& owner_;
  async::ZmqPump pump_;
};

}  // namespace

std::unique_ptr<Transport> ZmqConnector::connect(const asio::any_io_executor& executor, TransportOwner& owner) {
  return std::make_unique<ZmqTransport>(executor, context_, endpoint_, owner);
}

}  // namespace weir::engine::weir_broker
