#pragma once

/// What the broker refuses ends the session with all that it was sent. Sent again as it was, it would for ever: so the
/// second time less is sent at once, half of what was under way each time, until one message alone has ended a session.
/// That one did it, and its owner is told; the rest goes on.
///
/// Only ends with words of the broker about what it was sent count here. A lost connection says nothing of anybody.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace weir::engine::weir_broker {

class Probe {
 public:
  /// The broker refused what it was sent, and ended the session: so many messages were unanswered, of `all` that are to
  /// be sent again. True: it was one alone; it is to be sent no more.
  [[nodiscard]] bool refused(std::uint64_t under_way, std::uint64_t all) {
    suspects_ = all;
    if (!std::exchange(seen_, true)) return false;  // once more as it was
    const bool found = under_way == 1;
    most_ = found ? std::max<std::uint64_t>(1, all / 2) : std::max<std::uint64_t>(1, under_way / 2);
    return found;
  }
  /// Once all that was under suspicion is, nobody is.
  void answered(std::uint64_t messages) {
    if (!seen_) return;
    suspects_ -= std::min(suspects_, messages);
    if (suspects_ == 0) *this = {};
  }
  /// How many may be unanswered at once.
  [[nodiscard]] std::uint64_t most() const { return most_; }
  [[nodiscard]] bool active() const { return most_ != unbounded; }

 private:
  static constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();
  bool seen_ = false;
  std::uint64_t suspects_ = 0;
  std::uint64_t most_ = unbounded;
};

}  // namespace weir::engine::weir_broker
