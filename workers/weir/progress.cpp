#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "table.hpp"

namespace weir::cli {
namespace {

constexpr auto drawn_every = std::chrono::milliseconds(100);
constexpr std::size_t bar_width = 24;

}  // namespace

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
  std::string line = "\r\x1b[K" + what_;
  if (total_ && *total_ > 0) {
    const double part = std::min(1.0, static_cast<double>(reached) / static_cast<double>(*total_));
    const auto full = static_cast<std::size_t>(part * bar_width);
    line += " [" + std::string(full, '#') + std::string(bar_width - full, '.') + "] " +
            std::to_string(static_cast<int>(part * 100)) + " %";
  }
  const double seconds = std::chrono::duration<double>(now - started_).count();
  line += "  " + grouped(confirmed) + " confirmed, " +
          grouped(static_cast<std::uint64_t>(static_cast<double>(confirmed) / seconds)) + "/s";
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
