#pragma once

/// memory://: the broker's core on a thread of this process, over a MemoryStore.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "weir/broker/core/core.hpp"
#include "weir/engine/engine.hpp"
#include "weir/engine/weir/transport.hpp"
#include "weir/v1/control.pb.h"

namespace weir::engine::memory {

/// Thread: any, for all calls.
class MemoryBroker {
 public:
  /// Starts the broker's thread.
  explicit MemoryBroker(broker::core::Config config);
  MemoryBroker(const MemoryBroker&) = delete;
  MemoryBroker& operator=(const MemoryBroker&) = delete;
  /// Ends the connections. Their clients try for ever to connect again.
  ~MemoryBroker();

  /// The connector of sessions and producers. It lives as long as the broker.
  [[nodiscard]] weir_broker::Connector& connector();

  /// Acts as a crash and a start: connections end, and committed messages are recovered.
  void restart();
  /// Ends every connection, without telling the core.
  void cut();

  [[nodiscard]] v1::Queues queues();
  [[nodiscard]] v1::Workers workers();
  /// Returns a queue's dead letters, with their histories and payloads.
  [[nodiscard]] std::vector<v1::DeadLetter> dead(const std::string& queue);
  /// Sends a queue's dead letters back to it.
  void replay(const std::string& queue);
  /// Ends the sessions of a process, as its parent's death report does.
  void bury(const ProcessToken& token);

  class Loop;  ///< the implementation

 private:
  std::unique_ptr<Loop> loop_;
};

/// Makes an engine over a broker of its own, with the queues of `config`, or over a shared one.
[[nodiscard]] std::unique_ptr<Engine> make_engine(std::shared_ptr<MemoryBroker> broker);
[[nodiscard]] Capabilities capabilities();

}  // namespace weir::engine::memory
