#pragma once

/// The command line as plain values. Only parse.cpp knows how they are read (CLI11 takes 4 s to compile).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "weir/message/units.hpp"

namespace weir::cli {

/// Exit codes. Every `--help` promises them.
inline constexpr int done = 0;
inline constexpr int failed = 1;
inline constexpr int wrong_usage = 2;

/// Options of every command.
struct LogOptions {
  bool json = false;
  std::string level = "info";

  /// Returns them as arguments for a child of this process.
  [[nodiscard]] std::vector<std::string> arguments() const;
};

/// How a command finds its engine; choice.hpp has the order.
struct EngineOptions {
  std::optional<std::string> engine;
  std::optional<std::string> file;
};

struct FileOptions {  // up, broker
  std::string file;
};

struct WorkerOptions {
  std::string file;
  std::string group;
};

struct CheckOptions {
  std::string file;
  bool explain = false;
  bool load = false;
};

struct CheckStoreOptions {
  std::string folder;
  bool json = false;
};

struct CompactOptions {
  std::string folder;
};

struct CompletionOptions {
  std::string shell;  ///< bash, zsh or fish
};

struct ManOptions {
  std::string folder;
};

struct PublishOptions {
  EngineOptions engine;
  std::string queue;
  std::optional<std::string> type;
  std::optional<std::string> from;
  std::optional<std::string> data;
  std::optional<std::string> key;
  Duration delay{};
  std::vector<std::string> headers;  ///< NAME=VALUE
  std::optional<std::string> id_field;
  std::optional<std::string> key_field;
  std::optional<std::string> proto;
  std::optional<std::string> plugin;
};

struct ListOptions {  // queues, workers
  EngineOptions engine;
  bool json = false;
};

struct TopOptions {
  EngineOptions engine;
  std::string every = "1s";
};

struct DeadListOptions {
  EngineOptions engine;
  std::string queue;
  std::optional<std::uint64_t> most;
  bool json = false;
  bool history = false;  ///< with json: adds each message's attempts and headers
  bool payload = false;  ///< with json: adds its payload
  std::optional<std::string> proto;
  std::optional<std::string> plugin;
};

struct DeadShowOptions {
  EngineOptions engine;
  std::string queue;
  std::string id;
  bool payload = false;
  bool json = false;
  std::optional<std::string> proto;
  std::optional<std::string> plugin;
};

struct DeadChangeOptions {  // replay, purge
  EngineOptions engine;
  std::string queue;
  std::vector<std::string> ids;
  bool all = false;
  bool yes = false;
};

struct BenchOptions {
  std::string workload;                ///< drain, backlog, latency or waiting
  std::uint64_t messages = 1'000'000;  ///< 0: as many as take 10 s at the rate
  double rate = 0;                     ///< messages per second; 0: as fast as credit allows
  std::uint64_t handler_ms = 0;        ///< how long each handler waits
  std::uint64_t size = 256;
  std::uint64_t window = 4096;
  std::optional<std::uint64_t> concurrency;  ///< handlers per shard that run at once; absent: the window's messages
  std::uint32_t shards = 1;
  std::uint32_t queues = 1;
  std::uint32_t in_a_row = 16;    ///< messages to one queue before the next has its turn
  unsigned retry_percent = 0;     ///< percent of the messages that fail once
  std::uint64_t retry_ms = 1000;  ///< the delay before those are delivered again
  bool ahead = true;              ///< deliver before the publish is on disk
  std::string durability = "fsync";
  std::optional<std::string> data;
};

/// The publisher's and the worker's part of a benchmark, each in a process of its own.
struct BenchPartOptions {
  std::string engine;
  std::uint64_t messages{};
  std::uint64_t size{};
  std::uint64_t window{};
  std::optional<std::uint64_t> concurrency;
  std::uint32_t shards{};
  double rate{};
  std::uint64_t handler_ms{};
  std::uint32_t queues = 1;
  std::uint32_t in_a_row = 16;
  unsigned retry_percent{};
  std::uint64_t retry_ms{};
  bool timed{};  ///< measures each message's time on its way
};

/// Internal commands, which `weir worker` starts and people do not type.
struct InternalOptions {
  std::vector<std::string> arguments;
};

}  // namespace weir::cli
