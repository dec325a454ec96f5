#include "table.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>

namespace weir::cli {
namespace {

/// Characters as a terminal counts them, nearly: code points.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cut(const std::string& text, std::size_t width) {
  if (width_of(text) <= width) return text;
  std::string result;
  std::size_t count = 0;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && ++count >= width) break;
    result += c;
  }
  return result + "…";
}

const char* code_of(Shade shade) {
  switch (shade) {
    case Shade::good:
      return "\x1b[32m";
    case Shade::bad:
      return "\x1b[31m";
    case Shade::faint:
      return "\x1b[2m";
    case Shade::plain:
      break;
  }
  return "";
}

}  // namespace

Cell::Cell(std::uint64_t number, Shade of) : text(grouped(number)), shade(of) {}

std::string render(const std::vector<Column>& columns, const std::vector<std::vector<Cell>>& rows, bool colour,
                   std::size_t width) {
  constexpr std::size_t last_least = 20;
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    std::size_t widest = width_of(columns[c].title);
    for (const auto& row : rows) widest = std::max(widest, width_of(harmless(row[c].text)));
    widths.push_back(widest);
  }
  std::size_t before_last = 0;
  for (std::size_t c = 0; c + 1 < columns.size(); ++c) before_last += widths[c] + 2;
  const std::size_t last_most =
      width == 0 ? std::string::npos : std::max(last_least, width > before_last ? width - before_last : 0);

  std::string text;
  const auto add = [&](std::size_t c, const std::string& words, const char* code) {
    const bool last = c + 1 == columns.size();
    const std::string shown = last ? cut(harmless(words), last_most) : harmless(words);
    const std::size_t own = width_of(shown);
    const std::string gap(widths[c] > own ? widths[c] - own : 0, ' ');
    const bool coloured = colour && *code != '\0' && !shown.empty();
    if (columns[c].align == Align::right) text += gap;
    text += (coloured ? code : "") + shown + (coloured ? "\x1b[0m" : "");
    if (!last) text += (columns[c].align == Align::left ? gap : "") + "  ";
  };
  const auto end_line = [&] {
    while (text.ends_with(' ')) text.pop_back();
    text += '\n';
  };
  for (std::size_t c = 0; c < columns.size(); ++c) add(c, columns[c].title, "\x1b[1m");
  end_line();
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < columns.size(); ++c) add(c, row[c].text, code_of(row[c].shade));
    end_line();
  }
  return text;
}

void print(const std::vector<Column>& columns, const std::vector<std::vector<Cell>>& rows) {
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  const char* term = std::getenv("TERM");
  const bool colour =
      terminal && std::getenv("NO_COLOR") == nullptr && term != nullptr && std::string_view(term) != "dumb";
  winsize size{};
  const bool known = terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  std::cout << render(columns, rows, colour, known ? size.ws_col : 0);
}

std::string grouped(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string size_of(std::uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string time_of(std::uint64_t microseconds) {
  if (microseconds < 1'000) return std::to_string(microseconds) + " µs";
  if (microseconds < 1'000'000) return std::to_string(microseconds / 1'000) + " ms";
  const std::uint64_t seconds = microseconds / 1'000'000;
  if (seconds < 120) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(microseconds) / 1e6);
    return text;
  }
  if (seconds < 7'200) return std::to_string(seconds / 60) + " min";
  if (seconds < 172'800) return std::to_string(seconds / 3'600) + " h";
  return std::to_string(seconds / 86'400) + " d";
}

std::string stamp(std::int64_t microseconds_since_1970) {
  const std::time_t seconds = microseconds_since_1970 / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char day[32];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  std::snprintf(text, sizeof text, "%s.%03dZ", day, static_cast<int>(microseconds_since_1970 / 1'000 % 1'000));
  return text;
}

std::string harmless(std::string_view text) {
  std::string result(text);
  std::ranges::replace_if(
      result, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return result;
}

}  // namespace weir::cli
