#pragma once

/// Makes a broken run smaller: what can be taken away while the same promise still breaks is not part of the story.

#include <string>
#include <vector>

#include "world.hpp"

namespace weir::simulation {

/// Takes some seconds. The options name what was taken away.
[[nodiscard]] RunOptions shrink(const RunOptions& options, const Result& result);

/// As on the command line: `--seed 7 --without cut --skip 0-3,7`.
[[nodiscard]] std::string print(const RunOptions& options);
/// `0-3,7` as a bitmap.
[[nodiscard]] std::vector<bool> parse_numbers(const std::string& text);

}  // namespace weir::simulation
