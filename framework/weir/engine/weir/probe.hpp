#pragma once

/// Finds the message that the broker refuses. A refusal ends the session with all that it was sent, and would do so for
/// ever if all was sent again unchanged. So after the second refusal fewer messages are sent at once, each time half of
/// those that were under way, until one message alone has ended a session. Its owner is told, and the rest goes on.
///
/// Only ends that the broker explains by what it was sent count here. A lost connection makes no message a suspect.

#include <cstdint>
#include <limits>

namespace weir::engine::weir_broker {

class Probe {
 public:
  /// The broker refused what it was sent, and ended the session. `under_way` messages were unanswered, of `all` that
  /// are to be sent again. Returns true if one message was under way alone: it is not sent again.
  [[nodiscard]] bool refused(std::uint64_t under_way, std::uint64_t all);
  /// `messages` were answered. Once all suspects are, no message is under suspicion.
  void answered(std::uint64_t messages);
  /// The most messages that may be unanswered at once.
  [[nodiscard]] std::uint64_t most() const { return most_; }
  [[nodiscard]] bool active() const { return most_ != unbounded; }

 private:
  static constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();
  bool seen_ = false;
  std::uint64_t suspects_ = 0;
  std::uint64_t most_ = unbounded;
};

}  // namespace weir::engine::weir_broker
