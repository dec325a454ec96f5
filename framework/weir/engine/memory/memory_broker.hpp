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

/// Thread: any, for everything.
class MemoryBroker {
 public:
  /// Starts its thread.
  explicit MemoryBroker(broker::core::Config config);
  MemoryBroker(const MemoryBroker&) = delete;
  MemoryBroker& operator=(const MemoryBroker&) = delete;
  /// Connections end; their clients try for ever to come back.
  ~MemoryBroker();

  /// What sessions and producers connect by; lives as long as the broker.
  [[nodiscard]] weir_broker::Connector& connector();

  /// As a crash and a start: connections end, and what was committed is recovered.
  void restart();
  /// Every connection ends, without a word to the core.
  void cut();

  [[nodiscard]] v1::Queues queues();
  [[nodiscard]] v1::Workers workers();
  /// A queue's dead letters, with their histories and payloads.
  [[nodiscard]] std::vector<v1::DeadLetter> dead(const std::string& queue);
  /// Sends a queue's dead letters back to it.
  void replay(const std::string& queue);
  /// Ends the sessions of a process, as its parent's death report does.
  void bury(const ProcessToken& token);

  class Loop;  ///< the implementation

 private:
  std::unique_ptr<Loop> loop_;
};

/// An engine over a broker of its own (whose queues are `config`'s), or a shared one.
[[nodiscard]] std::unique_ptr<Engine> make_engine(std::shared_ptr<MemoryBroker> broker);
[[nodiscard]] Capabilities capabilities();

}  // namespace weir::engine::memory
