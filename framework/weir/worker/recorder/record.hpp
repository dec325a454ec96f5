#pragma once

/// What a flight recorder's file says, once its process is dead.
///
/// Pure: bytes in, values out. The bytes are those of a process that went wrong, so nothing in them is believed:
/// whatever they are, this returns, and what it returns fits into them.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weir/message/units.hpp"
#include "weir/worker/recorder/layout.hpp"

namespace weir::worker::recorder {

/// A delivery whose handler had started and not ended.
struct Delivery {
  std::uint32_t slot{};
  std::uint64_t slot_state{};
  std::string queue;
  std::uint64_t segment{};
  std::uint32_t index{};
  std::uint32_t attempt{};
  std::chrono::nanoseconds started{};  ///< steady clock
  std::uint64_t memory{};              ///< the process's, when it started; bytes
  friend bool operator==(const Delivery&, const Delivery&) = default;
};

/// A delivery whose handler has ended.
struct EndedDelivery {
  std::string queue;
  std::uint64_t segment{};
  std::uint32_t index{};
  friend bool operator==(const EndedDelivery&, const EndedDelivery&) = default;
};

/// A thread that took a deadly signal, or was found stuck.
struct Marked {
  MarkKind kind = MarkKind::none;
  std::int32_t signal{};
  std::int32_t code{};
  std::int32_t sender{};
  std::uint64_t address{};
  std::chrono::nanoseconds at{};  ///< steady clock
  std::optional<std::uint32_t> slot;
  std::uint64_t slot_state{};
  std::vector<std::uint64_t> frames;
  friend bool operator==(const Marked&, const Marked&) = default;
};

struct Record {
  std::vector<Delivery> started;  ///< by slot
  /// Each place once, and none that is in `started`: those that ended last first, the shards in turns.
  std::vector<EndedDelivery> ended;
  /// Numbers of the slots that were on a CPU: a shard's, or a thread's of offload. Each once.
  std::vector<std::uint32_t> on_cpu;
  std::vector<Marked> marks;
  bool ending = false;  ///< the process ended by Weir's own code
  std::chrono::nanoseconds wall_minus_steady{};
  std::uint64_t memory_at_start{};
  std::uint64_t memory{};
  std::vector<std::string> log;  ///< the last lines, oldest first; what is no printable ASCII is a '?'
  std::string map;               ///< /proc/self/maps; empty if no signal was taken

  [[nodiscard]] const Delivery* find(std::uint32_t slot) const;
  [[nodiscard]] WallTime wall(std::chrono::nanoseconds steady) const;
};

/// Nothing if the bytes are no recorder's, or another version's, or somebody wrote over them.
[[nodiscard]] std::optional<Record> read_record(std::span<const std::byte> bytes);

}  // namespace weir::worker::recorder
