#pragma once

/// Finds characters that an editor does not show, and that YAML would report as a strange key or value.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "weir/deployment/check.hpp"

namespace weir::deployment {

struct Invisible {
  Position at;
  std::string what;
};

/// Finds UTF-16, or a byte order mark after the file's first character. (As the first character YAML ignores it.)
[[nodiscard]] std::optional<Invisible> find_byte_order_mark(std::string_view text);

/// Finds a tab in the indentation of line `line`, counted from 1 (0: no line).
[[nodiscard]] std::optional<Invisible> find_tab(std::string_view text, std::size_t line);

}  // namespace weir::deployment
