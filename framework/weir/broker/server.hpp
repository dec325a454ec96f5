#pragma once

/// The embedded broker: the core between one ROUTER socket and the store.
///
///     frames ─▶ core ─▶ batch ─▶ storage thread ─▶ core ─▶ confirmations, deliveries
///
/// One loop, on the thread that calls run(); one thread that commits. While one batch syncs, the loop gathers the next.
/// A commit begins once the one before has ended, and the core says that it is due.

#include <memory>
#include <string>
#include <vector>

#include "weir/broker/core/core.hpp"
#include "weir/broker/settings.hpp"

namespace weir::broker {

class Server {
 public:
  /// Opens the store, recovers, and listens. Throws: StoreError, Error; their words are for the operator.
  Server(BrokerSettings settings, std::vector<core::QueueConfig> queues);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// `weir://127.0.0.1:7733`, with the port that it got.
  [[nodiscard]] const std::string& url() const;

  /// Serves until stop(). 0: all that was taken is on disk and confirmed. 1: the store failed; the log says how.
  [[nodiscard]] int run();
  /// Ends run(): takes no more frames, commits what was taken, confirms it. Thread: any; once is enough.
  void stop();
  /// SIGTERM and SIGINT stop it. Call it before run().
  void stop_on_signals();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

/// Runs a broker until SIGTERM or SIGINT. Returns the exit code of the process; errors of the start are thrown.
int run_broker(BrokerSettings settings, std::vector<core::QueueConfig> queues);

}  // namespace weir::broker
