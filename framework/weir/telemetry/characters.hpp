#pragma once

/// Reads text from outside, one character after the other, and tells which ones are harmless on a terminal or in a log.

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::log {

struct Character {
  enum class Kind {
    harmless,
    control,    ///< C0, DEL, C1, and line and paragraph separators: moves a cursor, or ends a line
    direction,  ///< changes the direction of writing, so that the text reads differently
    no_utf8,    ///< a byte that begins no UTF-8 sequence
  };
  std::size_t length{};  ///< in bytes, from 1
  char32_t code{};       ///< its number in Unicode; the byte for `no_utf8`
  Kind kind = Kind::harmless;
};

/// Returns the first character of `text`, which must not be empty.
[[nodiscard]] Character first_character(std::string_view text);

/// Returns `text` for a terminal: a `?` replaces each character that is not harmless. With `keep_lines`, line ends
/// stay.
[[nodiscard]] std::string harmless(std::string_view text, bool keep_lines = false);

/// Appends JSON's escape of the character, such as `\u009b`; for `no_utf8`, `\ufffd`.
void append_escaped(const Character& character, std::string& out);

}  // namespace weir::log
