#pragma once

/// What a seed draws before anything happens: queues and their policies, who takes part, how quick everything is, and
/// which faults there will be. A run that mixes everything at once hides what only shows alone, so each seed turns a
/// part of it off ("swarm").

#include <cstdint>
#include <string>
#include <vector>

#include "options.hpp"
#include "weir/broker/core/core.hpp"

namespace weir::simulation {

struct Range {
  std::int64_t low{};
  std::int64_t high{};
};

/// What a worker process consumes: by queue, the types that it knows there (none: all).
struct AttachPlan {
  std::size_t queue{};
  std::vector<std::string> types;
};
struct ProcessPlan {
  std::uint32_t shards = 1;
  std::vector<AttachPlan> attach;
};

struct Scenario {
  std::uint64_t seed{};
  std::vector<broker::core::QueueConfig> queues;
  std::vector<std::string> types;  ///< the last one may be known to nobody
  std::vector<Lane> lanes;         ///< that publishers use
  std::vector<ProcessPlan> processes;
  std::uint32_t publishers = 1;
  std::uint32_t messages = 0;  ///< a publisher's
  Load window;
  Load publisher_window;
  broker::core::Config::Compaction compaction;
  Duration::rep effort_ns = broker::core::Config{}.effort_ns;  ///< small: frames are gone through in many turns
  Duration session_timeout{};
  Range latency_us, write_us, handler_us, publish_every_us;
  Range payload_bytes;
  Range take_us;                   ///< what a shard waits before it takes what has come; 0: it does so at once
  unsigned delayed_percent = 0;    ///< messages published with a delay
  unsigned timed_percent = 0;      ///< of the others: with a wall time
  unsigned silent_percent = 0;     ///< handlers that never answer
  unsigned outputs_percent = 0;    ///< acks that publish
  unsigned poison_percent = 0;     ///< messages that end their process
  unsigned operator_percent = 0;   ///< looks that replay or purge
  std::vector<unsigned> outcomes;  ///< weights, by the table of outcomes.hpp
  std::vector<unsigned> faults;    ///< weights, by the table of faults.hpp; all 0: a calm world
  bool stores_change = false;      ///< the data folder may be wiped, or an older copy of it put back
  std::int64_t fault_every_us{};
  std::int64_t active_us{};  ///< then the world heals
};

[[nodiscard]] Scenario draw(const RunOptions& options);
/// In a few lines, for whoever reads a trace.
[[nodiscard]] std::string print(const Scenario& scenario);

}  // namespace weir::simulation
