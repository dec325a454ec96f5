#pragma once

/// Reads a flight recorder's file, once its process is dead.
///
/// Pure: bytes in, values out. The bytes come from a process that went wrong, so none of them is trusted: for any bytes
/// it returns, and its result is bounded by them.

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
  std::uint64_t memory{};              ///< the process's when the handler started; bytes
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
  std::vector<Delivery> started;  ///< in the order of slots
  /// Each place once, and none that is in `started`. Latest first, the shards in turn.
  std::vector<EndedDelivery> ended;
  /// The numbers of the slots that were on a CPU, of a shard or of a thread of offload. Each once.
  std::vector<std::uint32_t> on_cpu;
  std::vector<Marked> marks;
  bool ending = false;  ///< the process ended by Weir's own code
  std::chrono::nanoseconds wall_minus_steady{};
  std::uint64_t memory_at_start{};
  std::uint64_t memory{};
  std::vector<std::string> log;  ///< the last lines, oldest first; a '?' replaces all but printable ASCII
  std::string map;               ///< /proc/self/maps; empty if no signal was taken

  [[nodiscard]] const Delivery* find(std::uint32_t slot) const;
  [[nodiscard]] WallTime wall(std::chrono::nanoseconds steady) const;
};

/// Returns nothing if the bytes are no recorder's, are of another version, or were overwritten.
[[nodiscard]] std::optional<Record> read_record(std::span<const std::byte> bytes);

}  // namespace weir::worker::recorder
