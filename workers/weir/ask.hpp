#pragma once

/// One question to the engine, and its answer.

#include <string>
#include <vector>

#include "weir/v1/control.pb.h"

namespace weir::cli {

/// Throws: Error with what the engine said was wrong, or that it could not be reached in 5 s.
[[nodiscard]] v1::ControlReply ask(const std::string& engine, v1::ControlRequest request);
/// Every queue, page after page. Throws: as above.
[[nodiscard]] std::vector<v1::Queues::Queue> ask_queues(const std::string& engine);

}  // namespace weir::cli
