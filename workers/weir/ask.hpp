#pragma once

/// One question to the engine, and its answer.

#include <string>

#include "weir/v1/control.pb.h"

namespace weir::cli {

/// Throws: Error with what the engine said was wrong, or that it could not be reached in 5 s.
[[nodiscard]] v1::ControlReply ask(const std::string& engine, v1::ControlRequest request);

}  // namespace weir::cli
