#pragma once

/// Finds the known word that was probably meant.

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::deployment {

/// Returns the word of `known` with the fewest letters inserted, left out, changed or swapped, if they are at most one
/// letter in three; else nothing.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word, std::span<const std::string> known);

/// Returns `; did you mean 'shards'?`, or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace weir::deployment
