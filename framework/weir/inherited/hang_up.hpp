#pragma once

/// What SIGHUP means to a process that runs until it is stopped.

#include <cstdint>

namespace weir::inherited {

enum class HangUp : std::uint8_t {
  ignored,  ///< it was when the process was started, as nohup does
  stops,    ///< the process has a terminal, which is gone: drain
  kept,     ///< without a terminal nothing hung up: kept for "read your configuration again"
};

/// The same for the process's whole life: as it was at the first call. Thread: any.
[[nodiscard]] HangUp hang_up();

}  // namespace weir::inherited
