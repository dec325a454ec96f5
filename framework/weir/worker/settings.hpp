#pragma once

/// What one worker group of the deployment file says.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "weir/message/units.hpp"

namespace weir::worker {

/// Handlers at once a shard, of a group that does not say. A shard takes so many in as long as one waits: 25,000
/// messages a second of handlers that wait 10 ms, 2,500 of 100 ms (tests/bench/RESULTS.md). More would mostly wait in
/// line for what they call, and are all suspect when their process dies.
inline constexpr std::uint64_t concurrency_default = 256;

struct GroupSettings {
  std::string name;
  std::string engine;            ///< URL
  std::string plugin;            ///< path of the plugin file
  std::filesystem::path folder;  ///< of the deployment file: what the plugin's own paths are relative to
  std::vector<std::string> queues;
  std::uint32_t processes_least = 1;
  std::uint32_t processes_most = 1;
  std::uint32_t shards = 1;                                 ///< threads a process
  Load window{Messages{4096}, Bytes{64ULL * 1024 * 1024}};  ///< a shard's
  /// Handlers at once a shard; absent: concurrency_default, or the window's messages if they are fewer.
  std::optional<std::uint64_t> concurrency;
  Duration timeout = std::chrono::seconds(30);
  Duration stall_after = std::chrono::milliseconds(100);
  Duration drain = std::chrono::seconds(30);
  std::map<std::string, std::string> with;  ///< the plugin's own options
};

}  // namespace weir::worker
