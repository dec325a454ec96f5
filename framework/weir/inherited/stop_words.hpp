#pragma once

/// What a process that runs until it is stopped makes of the signals that say so.

#include <cstdint>
#include <vector>

namespace weir::inherited {

/// Which it takes: SIGTERM, SIGINT, and SIGHUP where it is not to be ignored.
[[nodiscard]] std::vector<int> stop_signals();

/// The first word drains, a second one stops at once. SIGHUP counts as neither: a terminal that goes sends it more than
/// once, and others say SIGTERM beside it. Where it is kept for a reload it stops nobody, and the log says so.
class StopWords {
 public:
  enum class Says : std::uint8_t { nothing, drain, stop_at_once };

  /// Of `signal`, which came; `stopping`: the process drains already, whoever said so. Thread: one at a time.
  [[nodiscard]] Says hear(int signal, bool stopping);

 private:
  bool hung_up_ = false;  ///< it drains because of a SIGHUP, and nobody has said a word yet
};

}  // namespace weir::inherited
