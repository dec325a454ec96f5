#pragma once

/// The thread that vouches for a worker process, and the report of its death.
///
/// It has its own socket and loop, so a handler that blocks a shard's loop never costs the leases; and it says what
/// each shard is doing, so that such a handler is seen.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "weir/engine/weir/client.hpp"
#include "weir/message/ids.hpp"

namespace weir::engine::weir_broker {

/// What a shard of the process is doing.
struct ShardActivity {
  std::uint32_t shard{};
  Duration since_turn{};  ///< since its loop last turned
  std::string running;    ///< the id of the message whose handler is on the CPU; empty if none
  bool stuck = false;     ///< that handler is past its timeout, and its process about to end
};

struct KeepAliveOptions {
  std::string url;  ///< weir://host:port
  ProcessToken process;
  /// What the shards are doing now. Called on the keep-alive's thread, each session_timeout/4.
  std::function<std::vector<ShardActivity>()> look;
  /// The thread did not run for longer than the session timeout (the machine slept, or was starved): what is held may
  /// be another's by now, and is to be cancelled before anything runs on. Called on the keep-alive's thread. May be
  /// empty.
  std::function<void(Duration)> overslept;
  /// The thread has run, and sees this session timeout. Called on it, at least each quarter of that. May be empty.
  std::function<void(Duration session_timeout)> beat;
  Notice notice;
};

class KeepAlive {
 public:
  /// Starts its thread. Throws: Error when the URL is wrong.
  explicit KeepAlive(KeepAliveOptions options);
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;
  /// Ends it, without a word: the sessions say goodbye themselves.
  ~KeepAlive();

  /// Sends a keep-alive now: a shard's state has just changed in a way that the broker should know. Thread: any.
  void now();
  /// Waits until it has been connected, at most `limit`; false: it has not. Thread: one.
  bool wait_connected(Duration limit);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

enum class DeathAnswer {
  reported,   ///< on the broker's disk: what the process held returns
  unknown,    ///< the broker knows no such process (any more): there is nothing to return
  no_answer,  ///< by the deadline
};

/// A delivery whose handler had started in a process that is dead, and perhaps ended.
struct StartedDelivery {
  enum class Part : std::uint8_t { ended, suspended, on_cpu, culprit };
  std::string queue;
  SegmentNumber segment{};
  std::uint32_t index{};
  Part part = Part::suspended;
  // Culprits, and those on a CPU: for the history. All text is UTF-8.
  WallTime started_at;
  Duration duration{};
  std::string error;
  std::string stack;
  std::int64_t memory_grown_bytes = 0;
  std::vector<std::string> log;
};

/// How a process died, and of what, as far as is known.
struct DeadProcess {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;               ///< 0: it exited
  bool on_purpose = false;               ///< nobody is suspect by it
  std::vector<StartedDelivery> started;  ///< those that had ended: the last one first
  std::string stack;                     ///< of a thread that took the signal though it ran no delivery
  std::vector<std::string> log;          ///< its last lines
};

/// Tells the broker that the process with this token is dead. Tries until it is answered, or until `limit` is over.
/// Blocking; makes a ZeroMQ context, so it must not run in a process that still forks.
/// Throws: Error when the URL is wrong.
[[nodiscard]] DeathAnswer report_death(const std::string& url, const ProcessToken& process, const DeadProcess& dead,
                                       Duration limit);

}  // namespace weir::engine::weir_broker
