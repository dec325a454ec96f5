#pragma once

/// Connections to a broker over ZeroMQ.

#include <string>

#include "weir/async/zmq_pump.hpp"
#include "weir/engine/weir/transport.hpp"

namespace weir::engine::weir_broker {

/// Makes connections to one endpoint. Lifetime: it must outlive them.
class ZmqConnector final : public Connector {
 public:
  /// `endpoint` is libzmq's, such as tcp://127.0.0.1:7733.
  explicit ZmqConnector(std::string endpoint) : endpoint_(std::move(endpoint)) {}
  [[nodiscard]] std::unique_ptr<Transport> connect(const asio::any_io_executor& executor,
                                                   TransportOwner& owner) override;
  [[nodiscard]] std::string name() const override { return endpoint_; }

 private:
  std::string endpoint_;
  async::ZmqContext context_;
};

}  // namespace weir::engine::weir_broker
