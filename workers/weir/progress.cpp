#include "progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "table.hpp"

namespace weir::cli {
namespace {

constexpr auto drawn_every = std::chrono::milliseconds(100);
constexpr std::size_t bar_width = 24;

}  // namespace

std::string progress_line(const std::string& what, std::optional<double> part, std::uint64_t confirmed, double seconds,
                          std::size_t width) {
  std::string text = grouped(confirmed) + " confirmed";
  const auto rate = static_cast<std::uint64_t>(seconds > 0 ? static_cast<double>(confirmed) / seconds : 0);
  std::string bar;
  if (part) {
    const auto full = static_cast<std::size_t>(*part * bar_width);
    bar = "[" + std::string(full, '#') + std::string(bar_width - full, '.') + "] ";
    text = std::to_string(static_cast<int>(*part * 100)) + " %  " + text;
  }
  // If there is no room, the bar is left out first, then the name, then the rate.
  const std::string rated = text + ", " + grouped(rate) + "/s";
  const std::string between = part ? " " : "  ";
  for (const std::string& line : {what + between + bar + rated, what + between + rated, rated}) {
    if (width_of(line) < width) return line;
  }
  return cut(text, width > 0 ? width - 1 : 0);
}

Progress::Progress(std::string what, std::optional<std::uint64_t> total)
    : what_(std::move(what)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) == 1),
      started_(Clock::now()),
      next_(started_ + drawn_every) {}

void Progress::show(std::uint64_t confirmed, std::uint64_t reached) {
  if (!terminal_) return;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + drawn_every;
  std::optional<double> part;
  if (total_ && *total_ > 0) part = std::min(1.0, static_cast<double>(reached) / static_cast<double>(*total_));
  constexpr std::size_t width_usual = 80;
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const std::string line =
      "\r\x1b[K" + progress_line(what_, part, confirmed, seconds, known ? size.ws_col : width_usual);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace weir::cli
