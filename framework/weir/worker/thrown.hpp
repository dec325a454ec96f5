#pragma once

/// What was thrown, in words.

#include <string>

namespace weir::worker {

/// Of the exception that is being handled: its text; its type, if it has none or is no std::exception. Only in a catch
/// block.
[[nodiscard]] std::string thrown_text();

}  // namespace weir::worker
