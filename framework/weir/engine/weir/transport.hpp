#pragma once

/// The way of frames: over a ZeroMQ socket, or to a broker in this process.

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>

#include "weir/message/slice.hpp"

namespace weir::engine::weir_broker {

namespace asio = boost::asio;

/// The owner of a transport. The calls come on the transport's executor, never from within a call to the transport.
/// Each of them may destroy the transport.
class TransportOwner {
 public:
  virtual ~TransportOwner() = default;
  virtual void on_frame(Slice bytes) = 0;
  /// Called after each batch of frames.
  virtual void on_turn() = 0;
  /// The connection is gone for good.
  virtual void on_ended(std::string why) = 0;
};

/// One connection. Its destructor drops it. Frames that were sent before still leave, if the peer is there.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void send(std::string frame) = 0;
};

/// Makes connections to one broker.
class Connector {
 public:
  virtual ~Connector() = default;
  /// Throws: Error if it cannot even try.
  [[nodiscard]] virtual std::unique_ptr<Transport> connect(const asio::any_io_executor& executor,
                                                           TransportOwner& owner) = 0;
  /// The address that it connects to, for people.
  [[nodiscard]] virtual std::string name() const = 0;
};

}  // namespace weir::engine::weir_broker
