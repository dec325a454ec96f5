#pragma once

/// Every way in which a handler may end. A new outcome is a row here, and nowhere else in the simulator.

#include <array>
#include <cstdint>
#include <vector>

#include "random.hpp"
#include "weir/message/outcome.hpp"

namespace weir::simulation {

struct OutcomeKind {
  const char* name;
  Outcome outcome;
  bool counts;    ///< as an attempt
  bool ends;      ///< the message is gone with it
  bool buries;    ///< a dead letter now
  bool returns;   ///< at once, and nothing is written
  bool pauses;    ///< its queue, too, until then
  unsigned asks;  ///< percent that name a delay of their own
};

inline constexpr std::array outcome_kinds{
    OutcomeKind{"ack", Outcome::ack, false, true, false, false, false, 0},
    OutcomeKind{"retry", Outcome::retry, true, false, false, false, false, 30},
    OutcomeKind{"reject", Outcome::reject, true, false, true, false, false, 0},
    OutcomeKind{"release", Outcome::release, false, false, false, true, false, 0},
    OutcomeKind{"defer", Outcome::defer, false, false, false, false, false, 100},
    OutcomeKind{"throttled", Outcome::throttled, false, false, false, false, true, 100},
};

[[nodiscard]] constexpr const OutcomeKind& kind_of(Outcome outcome) {
  for (const auto& kind : outcome_kinds) {
    if (kind.outcome == outcome) return kind;
  }
  return outcome_kinds[0];
}

/// Weights: acks always, of the others some or none.
[[nodiscard]] inline std::vector<unsigned> draw_outcomes(Random& random) {
  std::vector<unsigned> weights{60};
  for (std::size_t i = 1; i < outcome_kinds.size(); ++i) {
    weights.push_back(random.percent(50) ? static_cast<unsigned>(random.between(1, 40)) : 0);
  }
  return weights;
}

}  // namespace weir::simulation
