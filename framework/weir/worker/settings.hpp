#pragma once

/// The settings of one worker group, from the deployment file.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "weir/message/units.hpp"

namespace weir::worker {

/// The most handlers per shard that run at once, if a group sets no number. It bounds the rate of handlers that wait:
/// 25,000 messages per second if each waits 10 ms, 2,500 if each waits 100 ms (tests/bench/RESULTS.md). More handlers
/// would mostly wait in line for the service that they call, and all are suspects when their process dies.
inline constexpr std::uint64_t concurrency_default = 256;

struct GroupSettings {
  std::string name;
  std::string engine;            ///< URL
  std::string plugin;            ///< path of the plugin file
  std::filesystem::path folder;  ///< of the deployment file; the plugin's own paths are relative to it
  std::vector<std::string> queues;
  std::uint32_t processes_least = 1;
  std::uint32_t processes_most = 1;
  std::uint32_t shards = 1;                                 ///< threads per process
  Load window{Messages{4096}, Bytes{64ULL * 1024 * 1024}};  ///< per shard
  /// The most handlers per shard that run at once. Absent: concurrency_default, or the window's messages if they are
  /// fewer.
  std::optional<std::uint64_t> concurrency;
  Duration timeout = std::chrono::seconds(30);
  Duration stall_after = std::chrono::milliseconds(100);
  Duration drain = std::chrono::seconds(30);
  std::map<std::string, std::string> with;  ///< the plugin's own options
};

}  // namespace weir::worker
