#pragma once

/// What a parent asks its child's flight recorder, while the child lives and after: little, and nothing that it
/// believes.

#include <cstdint>
#include <optional>

#include "weir/message/units.hpp"

namespace weir::worker::recorder {

struct Life {
  /// Of the keep-alive thread. 0: it has not run yet.
  std::uint64_t beats = 0;
  /// As the broker said it last, within reason (0.1 s to a day); nothing before that thread has run.
  std::optional<Duration> session_timeout;
  /// The process ends, or ended, by Weir's own code.
  bool ending = false;
};

/// Nothing if `file` is no recorder (yet): the child has not come so far.
[[nodiscard]] std::optional<Life> read_life(int file);

/// Has any handler ended, in any way but with its process?
[[nodiscard]] bool has_handled(int file);

}  // namespace weir::worker::recorder
