#pragma once

/// Makes a Deliver frame from the pieces that the core names, and reads them from the store.

#include <string>

#include "weir/broker/core/action.hpp"
#include "weir/broker/core/store.hpp"

namespace weir::engine::memory {

/// Returns the encoded frame.
[[nodiscard]] std::string deliver_frame(const broker::core::SendDelivery& action, broker::core::Snapshot& snapshot);

}  // namespace weir::engine::memory
