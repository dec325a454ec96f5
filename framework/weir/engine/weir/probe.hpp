#pragma once

/// What the broker refuses ends the session with all that it was sent. Sent again as it was, it would for ever: so the
/// second time less is sent at once, half of what was under way each time, until one message alone has ended a session.
/// That one did it, and its owner is told; the rest goes on.
///
/// Only ends with words of the broker about what it was sent count here. A lost connection says nothing of anybody.

#include <cstdint>
#include <limits>

namespace weir::engine::weir_broker {

class Probe {
 public:
  /// The broker refused what it was sent, and ended the session: so many messages were unanswered, of `all` that are to
  /// be sent again. True: it was one alone; it is to be sent no more.
  [[nodiscard]] bool refused(std::uint64_t under_way, std::uint64_t all);
  /// Once all that was under suspicion is, nobody is.
  void answered(std::uint64_t messages);
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
