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

constexpr std::size_t last_least = 20;
constexpr std::size_t gap_width = 2;

/// A table that is made to fit a width.
class Table {
 public:
  Table(std::vector<Column> columns, std::vector<std::vector<Cell>> rows)
      : columns_(std::move(columns)), rows_(std::move(rows)) {
    for (auto& row : rows_) {
      for (Cell& cell : row) cell.text = harmless(cell.text);
    }
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      std::size_t widest = width_of(columns_[c].title);
      for (const auto& row : rows_) widest = std::max(widest, width_of(row[c].text));
      widths_.push_back(widest);
    }
  }

  void fit(std::size_t width) {
    while (least_width() > width && leave_out_one()) {
    }
    while (least_width() > width && narrow_one()) {
    }
    const std::size_t before_last = least_width() - std::min(last_least, widths_.back());
    widths_.back() = std::min(widths_.back(), std::max(last_least, width - std::min(width, before_last)));
  }

  [[nodiscard]] std::string text(bool colour) const {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) add(c, columns_[c].title, colour ? "\x1b[1m" : "", text);
    for (const auto& row : rows_) {
      end_line(text);
      for (std::size_t c = 0; c < columns_.size(); ++c) add(c, row[c].text, colour ? code_of(row[c].shade) : "", text);
    }
    end_line(text);
    if (!left_out_.empty()) text += "(no room for " + left_out_ + ")\n";
    return text;
  }

 private:
  /// The least width without leaving out or cutting more.
  [[nodiscard]] std::size_t least_width() const {
    std::size_t sum = std::min(last_least, widths_.back());
    for (std::size_t c = 0; c + 1 < columns_.size(); ++c) sum += widths_[c] + gap_width;
    return sum;
  }

  bool leave_out_one() {
    const auto most = std::ranges::max_element(columns_, {}, &Column::rank);
    if (most->rank == 0) return false;
    const auto at = most - columns_.begin();
    left_out_ += (left_out_.empty() ? "" : ", ") + most->title;
    columns_.erase(most);
    widths_.erase(widths_.begin() + at);
    for (auto& row : rows_) row.erase(row.begin() + at);
    return true;
  }

  bool narrow_one() {
    std::size_t widest = columns_.size();
    for (std::size_t c = 0; c + 1 < columns_.size(); ++c) {
      const bool can = columns_[c].least > 0 && widths_[c] > columns_[c].least;
      if (can && (widest == columns_.size() || widths_[c] > widths_[widest])) widest = c;
    }
    if (widest == columns_.size()) return false;
    --widths_[widest];
    return true;
  }

  void add(std::size_t c, const std::string& words, const std::string& code, std::string& text) const {
    const std::string shown = cut(words, widths_[c]);
    const std::string gap(widths_[c] - width_of(shown), ' ');
    if (columns_[c].align == Align::right) text += gap;
    text += code.empty() || shown.empty() ? shown : code + shown + "\x1b[0m";
    if (c + 1 < columns_.size()) text += (columns_[c].align == Align::left ? gap : "") + std::string(gap_width, ' ');
  }

  static void end_line(std::string& text) {
    while (text.ends_with(' ')) text.pop_back();
    text += '\n';
  }

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
  std::vector<std::size_t> widths_;
  std::string left_out_;
};

}  // namespace

Cell::Cell(std::uint64_t number, Shade of) : text(grouped(number)), shade(of) {}

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cut(std::string_view text, std::size_t width) {
  if (width_of(text) <= width) return std::string(text);
  std::string result;
  std::size_t count = 0;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && ++count >= width) break;
    result += c;
  }
  return result + (width > 0 ? "…" : "");
}

std::string render(std::vector<Column> columns, std::vector<std::vector<Cell>> rows, bool colour, std::size_t width) {
  Table table(std::move(columns), std::move(rows));
  if (width > 0) table.fit(width);
  return table.text(colour);
}

Terminal standard_output() {
  Terminal found;
  if (isatty(STDOUT_FILENO) != 1) return found;
  const char* term = std::getenv("TERM");
  found.colour = std::getenv("NO_COLOR") == nullptr && term != nullptr && std::string_view(term) != "dumb";
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) found.width = size.ws_col;
  return found;
}

void print(std::vector<Column> columns, std::vector<std::vector<Cell>> rows) {
  const Terminal to = standard_output();
  std::cout << render(std::move(columns), std::move(rows), to.colour, to.width);
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

}  // namespace weir::cli
