#pragma once

/// The known word that was probably meant.

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::deployment {

/// The word of `known` with the fewest letters inserted, left out, changed or swapped, if that is at most one letter in
/// three; else nothing.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word, std::span<const std::string> known);

/// `; did you mean 'shards'?`, or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace weir::deployment
