#pragma once

/// What a parent hands to its children unseen by others, through a pipe: the process token, which is never printed, and
/// one text.

#include <string>
#include <string_view>

#include "weir/message/ids.hpp"

namespace weir::worker {

/// 128 random bits. Thread: any.
[[nodiscard]] ProcessToken random_token();

struct HandedOver {
  ProcessToken token;
  std::string text;
};

/// Into a pipe, which must have room for it: 64 KiB. A reader that is gone already is no error. Throws: Error.
void hand_over(int fd, const ProcessToken& token, std::string_view text);
/// Reads to the end, and closes `fd`. Throws: Error when there is no token in it.
[[nodiscard]] HandedOver take_over(int fd);

}  // namespace weir::worker
