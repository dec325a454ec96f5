#pragma once

/// The few facts that a parent reads from its child's flight recorder, while the child lives and afterwards. It trusts
/// none of them.

#include <cstdint>
#include <optional>

#include "weir/message/units.hpp"

namespace weir::worker::recorder {

struct Life {
  /// The beats of the keep-alive thread. 0: it has not run yet.
  std::uint64_t beats = 0;
  /// The broker's last value, if it is between 0.1 s and a day; nothing before that thread has run.
  std::optional<Duration> session_timeout;
  /// True if the process ends, or ended, by Weir's own code.
  bool ending = false;
};

/// Returns nothing if `file` is no recorder yet, as the child has not laid it out.
[[nodiscard]] std::optional<Life> read_life(int file);

/// True if any handler has ended before its process did.
[[nodiscard]] bool has_handled(int file);

}  // namespace weir::worker::recorder
