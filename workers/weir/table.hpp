#pragma once

/// Tables for people: aligned columns, colour only on a terminal.

#include <string>
#include <string_view>
#include <vector>

#include "weir/telemetry/characters.hpp"

namespace weir::cli {

enum class Shade { plain, good, bad, faint };

struct Cell {
  std::string text;
  Shade shade = Shade::plain;

  Cell(std::string words, Shade of = Shade::plain) : text(std::move(words)), shade(of) {}
  Cell(const char* words) : text(words) {}
  Cell(std::uint64_t number, Shade of = Shade::plain);
};

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
  unsigned rank = 0;      ///< above 0: the column is left out if there is no room, the highest rank first
  std::size_t least = 0;  ///< above 0: the column is cut to this if there still is no room
};

/// The whole table with its title line; without rows, the titles alone. Controls in texts become `?`. If it is wider
/// than `width` (0: no limit), columns are left out and cut by their `rank` and `least`, the last one is cut down to
/// 20, and a line at the end names those that are left out.
[[nodiscard]] std::string render(std::vector<Column> columns, std::vector<std::vector<Cell>> rows, bool colour,
                                 std::size_t width);
/// The properties of standard output.
struct Terminal {
  bool colour = false;
  std::size_t width = 0;  ///< 0: it is no terminal
};
[[nodiscard]] Terminal standard_output();
/// Prints the table in the way that standard output allows.
void print(std::vector<Column> columns, std::vector<std::vector<Cell>> rows);

/// About the columns of `text` on a terminal: its code points.
[[nodiscard]] std::size_t width_of(std::string_view text);
/// Returns `text`, or, if it is wider, its first characters and `…`.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

/// `1,234,567`
[[nodiscard]] std::string grouped(std::uint64_t number);
/// `3.2 MiB`
[[nodiscard]] std::string size_of(std::uint64_t bytes);
/// `250 ms`, `3 s`, `2 h`: for how long ago and how long it took.
[[nodiscard]] std::string time_of(std::uint64_t microseconds);
/// ISO 8601 in UTC, to the millisecond.
[[nodiscard]] std::string stamp(std::int64_t microseconds_since_1970);
/// Removes characters that could control a terminal, or change the direction of writing.
using log::harmless;

}  // namespace weir::cli
