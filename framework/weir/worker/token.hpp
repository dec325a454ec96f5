#pragma once

/// Passes the process token, which is never printed, and one text from a parent to its children, through a pipe that no
/// other process sees.

#include <string>
#include <string_view>

#include "weir/message/ids.hpp"

namespace weir::worker {

/// Returns 128 random bits. Thread: any.
[[nodiscard]] ProcessToken random_token();

struct HandedOver {
  ProcessToken token;
  std::string text;
};

/// Writes both into a pipe, which must have room for them: 64 KiB. A reader that is already gone is no error. Throws:
/// Error.
void hand_over(int fd, const ProcessToken& token, std::string_view text);
/// Reads to the end, and closes `fd`. Throws: Error if it holds no token.
[[nodiscard]] HandedOver take_over(int fd);

}  // namespace weir::worker
