#pragma once

/// What a worker process as a whole is to its engine, beside its shards' sessions: that it lives, and of what it died.
///
/// An engine may ask for neither (Capabilities::keep_alives, ::death_reports).

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "weir/message/ids.hpp"
#include "weir/message/units.hpp"

namespace weir::engine {

/// What a shard of the process is doing.
struct ShardActivity {
  std::uint32_t shard{};
  Duration since_turn{};  ///< since its loop last turned
  std::string running;    ///< the id of the message whose handler is on the CPU; empty if none
  bool stuck = false;     ///< that handler is past its timeout, and its process about to end
};

struct KeepAliveOptions {
  ProcessToken process;
  /// What the shards are doing now. Called on the keep-alive's thread, each quarter of the session timeout. May be
  /// empty.
  std::function<std::vector<ShardActivity>()> look;
  /// The thread has run, and sees this session timeout. Called on it, at least each quarter of that. May be empty.
  std::function<void(Duration session_timeout)> beat;
};

/// Vouches for the process on a thread of its own, so a handler that blocks a shard's loop never costs the leases. Ends
/// without a word: the sessions say goodbye themselves.
class KeepAlive {
 public:
  KeepAlive() = default;
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;
  virtual ~KeepAlive() = default;

  /// A shard's state has just changed in a way that the engine should know. Thread: any.
  virtual void now() = 0;
  /// Waits until it has been connected, at most `limit`; false: it has not. Thread: one.
  virtual bool wait_connected(Duration limit) = 0;
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

enum class DeathAnswer {
  reported,   ///< on the engine's disk: what the process held returns
  unknown,    ///< the engine knows no such process (any more): there is nothing to return
  no_answer,  ///< by the deadline
};

}  // namespace weir::engine
