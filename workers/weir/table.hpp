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
  unsigned rank = 0;      ///< above 0: left out where there is no room, the highest first
  std::size_t least = 0;  ///< above 0: cut down to this where there still is none
};

/// The whole table with its title line; without rows, the titles alone. Controls in texts become `?`. Where it is wider
/// than `width` (0: never), columns are left out and cut as they say, and a line at the end names those that are left
/// out; the last one is cut down to 20.
[[nodiscard]] std::string render(std::vector<Column> columns, std::vector<std::vector<Cell>> rows, bool colour,
                                 std::size_t width);
/// What standard output is.
struct Terminal {
  bool colour = false;
  std::size_t width = 0;  ///< 0: it is none
};
[[nodiscard]] Terminal standard_output();
/// As standard output allows.
void print(std::vector<Column> columns, std::vector<std::vector<Cell>> rows);

/// Columns that a terminal takes for it, nearly: code points.
[[nodiscard]] std::size_t width_of(std::string_view text);
/// Its first characters, and `…`, where it is wider.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

/// `1,234,567`
[[nodiscard]] std::string grouped(std::uint64_t number);
/// `3.2 MiB`
[[nodiscard]] std::string size_of(std::uint64_t bytes);
/// `250 ms`, `3 s`, `2 h`: for how long ago and how long it took.
[[nodiscard]] std::string time_of(std::uint64_t microseconds);
/// ISO 8601 in UTC, to the millisecond.
[[nodiscard]] std::string stamp(std::int64_t microseconds_since_1970);
/// Without what could steer a terminal, or turn the direction of writing.
using log::harmless;

}  // namespace weir::cli
