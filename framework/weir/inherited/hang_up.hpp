#pragma once

/// The meaning of SIGHUP for a process that runs until it is stopped.

#include <cstdint>

namespace weir::inherited {

enum class HangUp : std::uint8_t {
  ignored,  ///< it was ignored when the process was started, as by nohup
  stops,    ///< the process has a terminal, which is gone: drain
  kept,     ///< the process has no terminal, so nothing hung up: kept for "read your configuration again"
};

/// Returns the meaning at the first call, which holds for the process's whole life. Thread: any.
[[nodiscard]] HangUp hang_up();

}  // namespace weir::inherited
