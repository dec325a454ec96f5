#pragma once

/// The process token: made by the parent, seen by its children, never printed.

#include "weir/message/ids.hpp"

namespace weir::worker {

/// 128 random bits. Thread: any.
[[nodiscard]] ProcessToken random_token();

/// Through a pipe. Throws: Error.
void write_token(int fd, const ProcessToken& token);
/// Closes `fd`. Throws: Error when there is no token in it.
[[nodiscard]] ProcessToken read_token(int fd);

}  // namespace weir::worker
