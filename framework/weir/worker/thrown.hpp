#pragma once

/// An exception as text, and as a handler's end.

#include <string>

#include "weir/handler/end.hpp"

namespace weir::worker {

/// Returns the text of the exception that is being handled, or its type, if it has no text or is no std::exception.
/// Call it only in a catch block.
[[nodiscard]] std::string thrown_text();

/// Returns the end of a handler that throws the exception that is being handled: that of a Reject, Retry, Defer or
/// Throttled, else a retry with thrown_text(). For Asio's multiple_exceptions the first one counts. Call it only in a
/// catch block.
[[nodiscard]] End thrown_end();

}  // namespace weir::worker
