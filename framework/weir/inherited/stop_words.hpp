#pragma once

/// The stop signals of a process that runs until it is stopped.

#include <cstdint>
#include <vector>

namespace weir::inherited {

/// Returns the signals to take: SIGTERM, SIGINT, and SIGHUP unless it is ignored.
[[nodiscard]] std::vector<int> stop_signals();

/// The first SIGTERM or SIGINT drains, a second one stops at once. SIGHUP drains too, but does not count as first or
/// second: a lost terminal sends it more than once, and SIGTERM may come beside it. If it is kept for a reload, it
/// stops nothing, and the log says so.
class StopWords {
 public:
  enum class Says : std::uint8_t { nothing, drain, stop_at_once };

  /// Returns what `signal` means. `stopping`: the process drains already, for any reason. Thread: one at a time.
  [[nodiscard]] Says hear(int signal, bool stopping);

 private:
  bool hung_up_ = false;  ///< it drains because of a SIGHUP, and no SIGTERM or SIGINT has come yet
};

}  // namespace weir::inherited
