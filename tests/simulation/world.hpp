#pragma once

/// One run of one seed: a broker, its clients, what goes wrong, and the end.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker_host.hpp"
#include "endpoint.hpp"
#include "network.hpp"
#include "options.hpp"
#include "publisher_host.hpp"
#include "stage.hpp"
#include "worker_host.hpp"

namespace weir::simulation {

/// What is summed over runs.
struct Coverage {
  CoverageTable messages;
  CoverageTable broker;
  Coverage();
};

struct Result {
  std::uint64_t steps = 0;
  std::uint32_t faults = 0;       ///< that were due, taken away or not
  std::string broken;             ///< empty: all promises were kept
  std::string promise;            ///< its name
  std::uint64_t fingerprint = 0;  ///< equal for two runs of the same seed
  std::int64_t virtual_us = 0;
};

class World {
 public:
  World(const RunOptions& options, Coverage& coverage);
  ~World();

  [[nodiscard]] Result run();

  // For faults.
  Scenario scenario;
  Stage stage;
  Network network;
  Clients clients;
  BrokerHost broker;
  std::vector<std::unique_ptr<ProcessHost>> processes;  ///< every life there was
  std::vector<std::unique_ptr<PublisherHost>> publishers;

  void start_process(std::size_t plan);
  void start_publisher(std::uint32_t messages);
  [[nodiscard]] std::vector<ProcessHost*> living_processes();
  [[nodiscard]] std::vector<PublisherHost*> living_publishers();

 private:
  void begin();
  /// Planned, and overtaken since: no step.
  [[nodiscard]] bool is_void(const Event& event) const;
  void handle(const Event& event);
  /// Until when whoever `event` is for is paused; 0: not.
  [[nodiscard]] std::int64_t paused_until(const Event& event) const;
  void poisoned(const Event& event);
  void next_fault();
  void operate();
  void heal();
  [[nodiscard]] bool is_done();
  void check_end();

  const RunOptions& options_;
  Random fault_times_;
  Random operator_random_;
  Result result_;
  std::int64_t healed_at_us_ = 0;
  std::int64_t wall_ahead_most_us_ = 0;
  bool ended_ = false;
};

}  // namespace weir::simulation
