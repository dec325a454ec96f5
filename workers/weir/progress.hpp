#pragma once

/// A line on the terminal that shows the progress of publishing. Nothing if standard error is no terminal.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace weir::cli {

/// Returns a line that is narrower than `width`, so that the cursor behind it stays on the line. `part`: the part that
/// is done, up to 1; absent: unknown.
[[nodiscard]] std::string progress_line(const std::string& what, std::optional<double> part, std::uint64_t confirmed,
                                        double seconds, std::size_t width);

class Progress {
 public:
  /// `total` is the final value of `reached`, in any unit; absent if unknown.
  Progress(std::string what, std::optional<std::uint64_t> total);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Cheap: draws at most 10 times per second.
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
