#pragma once

/// Messages that end the process whose handler takes them, each time anew. What is said of it afterwards differs.

#include <cstdint>

#include "payload.hpp"
#include "scenario.hpp"

namespace weir::simulation {

enum class Poison : std::uint8_t {
  none,
  named,        ///< its own thread takes a signal: the report names it
  on_cpu,       ///< it runs while something else kills the process (memory): so the report has it
  waits,        ///< its handler waits, and a thread or a callback of its own crashes: the report has it among others
  left_behind,  ///< so too, but its handler has ended: perhaps it was settled, and perhaps that was heard
};

/// Of which kind a message is: always the same.
[[nodiscard]] inline Poison poison_of(const Scenario& scenario, Uid uid) {
  Random dice(scenario.seed ^ 0xdeadULL, uid);
  if (!dice.percent(scenario.poison_percent)) return Poison::none;
  return static_cast<Poison>(dice.between(1, 4));
}

}  // namespace weir::simulation
