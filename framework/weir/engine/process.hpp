#pragma once

/// The facts that an engine hears of a worker process as a whole, beside its shards' sessions: that it lives, and how
/// it died.
///
/// An engine may need neither (Capabilities::keep_alives, ::death_reports).

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "weir/message/ids.hpp"
#include "weir/message/units.hpp"

namespace weir::engine {

/// The present activity of a shard of the process.
struct ShardActivity {
  std::uint32_t shard{};
  Duration since_turn{};  ///< since the last turn of its loop
  std::string running;    ///< the id of the message whose handler is on the CPU; empty if none
  bool stuck = false;     ///< that handler is past its timeout, and its process is about to end
};

struct KeepAliveOptions {
  ProcessToken process;
  /// Returns what the shards are doing now. Called on the keep-alive's thread, each quarter of the session timeout. May
  /// be empty.
  std::function<std::vector<ShardActivity>()> look;
  /// Hears that the keep-alive's thread runs, and the session timeout. Called on that thread, at least each quarter of
  /// the session timeout. May be empty.
  std::function<void(Duration session_timeout)> beat;
};

/// Keeps the leases of the process by a thread of its own, so that a handler that blocks a shard's loop loses none. Its
/// end sends nothing: the sessions say goodbye themselves.
class KeepAlive {
 public:
  KeepAlive() = default;
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;
  virtual ~KeepAlive() = default;

  /// Tells the engine at once that a shard's state has changed. Thread: any.
  virtual void now() = 0;
  /// Waits at most `limit` until it is connected for the first time. Returns false if it was not. Thread: one.
  virtual bool wait_connected(Duration limit) = 0;
};

/// A delivery whose handler had started, and perhaps ended, in a process that is dead.
struct StartedDelivery {
  enum class Part : std::uint8_t { ended, suspended, on_cpu, culprit };
  std::string queue;
  SegmentNumber segment{};
  std::uint32_t index{};
  Part part = Part::suspended;
  // For the history; set for culprits and for deliveries on a CPU. All text is UTF-8.
  WallTime started_at;
  Duration duration{};
  std::string error;
  std::string stack;
  std::int64_t memory_grown_bytes = 0;
  std::vector<std::string> log;
};

/// How a process died, and why, as far as is known.
struct DeadProcess {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;               ///< 0: the process exited
  bool on_purpose = false;               ///< no message becomes a suspect
  std::vector<StartedDelivery> started;  ///< of those that had ended, the last one stands first
  std::string stack;                     ///< of the thread that took the signal, if it ran no delivery
  std::vector<std::string> log;          ///< its last lines of log
};

enum class DeathAnswer {
  reported,   ///< on the engine's disk; the messages that the process held return
  unknown,    ///< the engine knows no such process (any more); there is nothing to return
  no_answer,  ///< no answer by the deadline
};

}  // namespace weir::engine
