#pragma once

/// Who is to blame for a worker process's death.
///
/// Pure. The rules, the first that applies:
/// 1. A thread that was found stuck, called exit, or took a deadly signal: the delivery whose code it ran is the
/// culprit. Nobody else
///    is named: the rest returns as if nothing had been. (A signal that another process sent says nothing, nor does one
///    in a thread that ran no delivery.)
/// 2. The process ended by Weir's own code (a drain that was over, a second SIGTERM), or was killed by its parent:
///    nobody is suspected.
/// 3. It ended by itself, not by Weir's code, with one delivery on a CPU: that one called _exit, and is the culprit.
/// 4. Nobody can tell (SIGKILL, memory, several on a CPU at an exit): those on a CPU, those that waited, and those that
///    had ended last: they may have left behind what ended it. Where a thread that ran no delivery took a signal or
///    called exit, it was that thread's code: to be on a CPU says nothing then.

#include <cstdint>
#include <string>
#include <vector>

#include "weir/worker/recorder/record.hpp"

namespace weir::worker::recorder {

enum class Part : std::uint8_t { ended, suspended, on_cpu, culprit };

struct HowItDied {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;     ///< 0: it exited
  bool by_its_parent = false;  ///< killed on purpose
  /// About when; steady clock.
  std::chrono::nanoseconds at{};
};

struct Blamed {
  Delivery delivery;
  Part part = Part::suspended;
  /// Culprits and those on a CPU: what went wrong, for the message's history.
  std::string error;
  WallTime started_at;
  Duration duration{};
  std::int64_t memory_grown = 0;  ///< bytes, since its handler started
  /// Culprits: of the thread that ran it, innermost first.
  std::vector<std::uint64_t> frames;
};

struct Verdict {
  std::vector<Blamed> started;  ///< those that had ended first, the last one of them first
  /// Nobody is named: of the thread that took a signal though it ran no delivery, innermost first.
  std::vector<std::uint64_t> frames;
  bool on_purpose = false;
};

[[nodiscard]] Verdict blame(const Record& record, const HowItDied& death);

}  // namespace weir::worker::recorder
