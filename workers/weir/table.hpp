#pragma once

/// Tables for people: aligned columns, colour only on a terminal.

#include <string>
#include <string_view>
#include <vector>

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
};

/// The whole table with its title line; without rows, the titles alone. Controls in texts become `?`; only the last
/// column may be cut, to `width` (0: never).
[[nodiscard]] std::string render(const std::vector<Column>& columns, const std::vector<std::vector<Cell>>& rows,
                                 bool colour, std::size_t width);
/// As standard output allows.
void print(const std::vector<Column>& columns, const std::vector<std::vector<Cell>>& rows);

/// `1,234,567`
[[nodiscard]] std::string grouped(std::uint64_t number);
/// `3.2 MiB`
[[nodiscard]] std::string size_of(std::uint64_t bytes);
/// `250 ms`, `3 s`, `2 h`: for how long ago and how long it took.
[[nodiscard]] std::string time_of(std::uint64_t microseconds);
/// ISO 8601 in UTC, to the millisecond.
[[nodiscard]] std::string stamp(std::int64_t microseconds_since_1970);
/// Without what could move a terminal's cursor.
[[nodiscard]] std::string harmless(std::string_view text);

}  // namespace weir::cli
