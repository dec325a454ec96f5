#pragma once

/// A line on the terminal that says how far publishing is; nothing where standard error is no terminal.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace weir::cli {

class Progress {
 public:
  /// `total` is what `reached` comes to, in whatever unit; absent if nobody knows.
  Progress(std::string what, std::optional<std::uint64_t> total);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Cheap: draws at most ten times a second.
  void show(std::uint64_t confirmed, std::uint64_t reached);
  /// Makes room for other output.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_;
  std::optional<std::uint64_t> total_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point started_;
  Clock::time_point next_;
};

}  // namespace weir::cli
