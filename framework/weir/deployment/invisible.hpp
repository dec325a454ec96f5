#pragma once

/// What an editor does not show, and YAML stumbles over: it would be told as a strange key or value.

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

/// UTF-16, or a byte order mark behind the file's first character (there it is none of YAML's business).
[[nodiscard]] std::optional<Invisible> find_byte_order_mark(std::string_view text);

/// A tab in the indentation of this line, counted from 1 (0: of none).
[[nodiscard]] std::optional<Invisible> find_tab(std::string_view text, std::size_t line);

}  // namespace weir::deployment
