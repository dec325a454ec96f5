#pragma once

/// Text from elsewhere, one character after the other: which of them may go to a terminal or a log as they are.

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::log {

struct Character {
  enum class Kind {
    harmless,
    control,    ///< C0, DEL, C1, and line and paragraph separators: moves a cursor, or ends a line
    direction,  ///< turns the direction of writing: what follows reads as another text
    no_utf8,    ///< one byte that begins no UTF-8
  };
  std::size_t length{};  ///< in bytes, from 1
  char32_t code{};       ///< its number in Unicode; of `no_utf8` the byte
  Kind kind = Kind::harmless;
};

/// The one that `text`, which is not empty, begins with.
[[nodiscard]] Character first_character(std::string_view text);

/// As it may stand on a terminal: what is not harmless is a `?`. With `keep_lines`, line ends stay.
[[nodiscard]] std::string harmless(std::string_view text, bool keep_lines = false);

/// JSON's escape of it, such as `\u009b`; of what is no UTF-8, `\ufffd`.
void append_escaped(const Character& character, std::string& out);

}  // namespace weir::log
