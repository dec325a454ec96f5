#pragma once

/// Decides which message is to blame for a worker process's death.
///
/// Pure. The first rule that applies:
/// 1. A thread was found stuck, called exit, or took a deadly signal: the delivery whose code it ran is the culprit.
///    No other delivery is named, and the rest returns unsuspected. (A signal that another process sent proves nothing.
///    Nor does one in a thread that ran no delivery.)
/// 2. The process ended by Weir's own code (the time of a drain was over, a second SIGTERM), or its parent killed it:
///    no delivery is suspected.
/// 3. It ended by itself, not by Weir's code, with one delivery on a CPU: that delivery called _exit, and is the
///    culprit.
/// 4. The cause is unknown (SIGKILL, memory, several on a CPU at an exit): suspects are the deliveries on a CPU, those
///    that waited, and those that had ended last, as any of them may have left behind the cause. If a thread that ran
///    no delivery took a signal or called exit, that thread's code did it: to be on a CPU proves nothing then.

#include <cstdint>
#include <string>
#include <vector>

#include "weir/worker/recorder/record.hpp"

namespace weir::worker::recorder {

enum class Part : std::uint8_t { ended, suspended, on_cpu, culprit };

struct HowItDied {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;     ///< 0: the process exited
  bool by_its_parent = false;  ///< killed on purpose
  /// The approximate time, by the steady clock.
  std::chrono::nanoseconds at{};
};

struct Blamed {
  Delivery delivery;
  Part part = Part::suspended;
  /// What went wrong, for the message's history. Set for culprits and for deliveries on a CPU.
  std::string error;
  WallTime started_at;
  Duration duration{};
  std::int64_t memory_grown = 0;  ///< bytes, since its handler started
  /// For culprits: the frames of the thread that ran it, innermost first.
  std::vector<std::uint64_t> frames;
};

struct Verdict {
  std::vector<Blamed> started;  ///< those that had ended come first, latest first
  /// If no culprit is named: the frames of the thread that took a signal while it ran no delivery, innermost first.
  std::vector<std::uint64_t> frames;
  bool on_purpose = false;
};

[[nodiscard]] Verdict blame(const Record& record, const HowItDied& death);

}  // namespace weir::worker::recorder
