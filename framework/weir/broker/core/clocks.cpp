// The wall clock is put forward or back, or the machine slept: records that are due by it (DueBy::wall) are due by what
// it shows now.
#include <cstdlib>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// If it is put back by more than this, a walk that rests until some wall time rests no more. (Both clocks are read one
/// after the other, so a turn may find them some microseconds apart.)
constexpr std::int64_t noticed_us = 1'000;
/// A larger step is logged: it is no leap second, and no clock that drifted.
constexpr std::int64_t told_us = 3'600'000'000;

}  // namespace

void wall_tick(Turn& turn) {
  const std::int64_t by_us =
      (micros(turn.now.wall) - turn.state.last_wall_us) - (turn.now.instant - turn.state.last_turn).count();
  if (by_us < -noticed_us) {
    for (const auto& [id, queue] : turn.state.queues) queue->due(DueBy::wall).walk_rests_until_us = 0;
  }
  if (std::abs(by_us) <= told_us) return;
  note(
      turn.actions, Note::Level::warning, "wall_clock_stepped",
      {{"by_s", std::to_string(by_us / 1'000'000)},
       {"what", by_us > 0 ? "what `deliver_at` names in between is due now" : "what `deliver_at` names waits longer"}});
}

}  // namespace weir::broker::core
