#pragma once

/// How frames travel: over a ZeroMQ socket, or to a broker in this process.

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>

#include "weir/message/slice.hpp"

namespace weir::engine::weir_broker {

namespace asio = boost::asio;

/// Who owns a transport. The calls come on its executor, never from within a call to it; it may be destroyed in any.
class TransportOwner {
 public:
  virtual ~TransportOwner() = default;
  virtual void on_frame(Slice bytes) = 0;
  /// After each batch of frames.
  virtual void on_turn() = 0;
  /// The connection is gone, for good.
  virtual void on_ended(std::string why) = 0;
};

/// One connection. Its end drops it; what was sent before still leaves, if there is anyone to take it.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void send(std::string frame) = 0;
};

/// Makes connections to one broker.
class Connector {
 public:
  virtual ~Connector() = default;
  /// Throws: Error when it cannot even try.
  [[nodiscard]] virtual std::unique_ptr<Transport> connect(const asio::any_io_executor& executor,
                                                           TransportOwner& owner) = 0;
  /// Where to, for people.
  [[nodiscard]] virtual std::string name() const = 0;
};

}  // namespace weir::engine::weir_broker
