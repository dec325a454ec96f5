#pragma once

/// What was thrown: in words, and as a handler's end.

#include <string>

#include "weir/handler/end.hpp"

namespace weir::worker {

/// Of the exception that is being handled: its text; its type, if it has none or is no std::exception. Only in a catch
/// block.
[[nodiscard]] std::string thrown_text();

/// How a handler ends that throws the exception that is being handled: as a Reject, Retry, Defer or Throttled says,
/// else a retry with thrown_text(). Of Asio's multiple_exceptions the first counts. Only in a catch block.
[[nodiscard]] End thrown_end();

}  // namespace weir::worker
