#pragma once

/// What all actors share: the time, the agenda, the ledger, and somebody who writes down what happens.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>

#include "agenda.hpp"
#include "coverage.hpp"
#include "ledger.hpp"
#include "random.hpp"
#include "scenario.hpp"

namespace weir::simulation {

struct Stage {
  Stage(const Scenario& the_scenario, bool traced, CoverageTable& messages, CoverageTable& the_broker)
      : scenario(the_scenario), trace(traced), broker_coverage(the_broker), ledger(the_scenario, clock, messages) {}

  const Scenario& scenario;
  const bool trace;
  Clock clock;
  Agenda agenda;
  CoverageTable& broker_coverage;
  Ledger ledger;
  bool healed = false;            ///< no more faults, and every handler answers
  std::uint64_t fingerprint = 0;  ///< of all that was carried: two runs of a seed must agree

  void in(std::int64_t after_us, EventKind kind, std::uint32_t a = 0, std::uint32_t b = 0, std::uint32_t c = 0) {
    agenda.add(clock.now_us + after_us, kind, a, b, c);
  }
  [[gnu::format(printf, 3, 4)]] void say(const char* who, const char* format, ...) const {
    if (!trace) return;
    std::printf("%10.6f  %-12s ", static_cast<double>(clock.now_us - Clock{}.now_us) / 1e6, who);
    va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::printf("\n");
  }
};

/// In `range`, both ends included.
inline std::int64_t within(Random& random, Range range) { return random.between(range.low, range.high); }

}  // namespace weir::simulation
