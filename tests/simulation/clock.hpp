#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "weir/message/units.hpp"

namespace weir::simulation {

/// Virtual time. The wall clock is ahead of the other by as much as was jumped.
struct Clock {
  std::int64_t now_us = 1'000'000'000;
  std::int64_t wall_ahead_us = 1'700'000'000'000'000;
  /// Of the wall clock: when, and how far ahead it was then.
  std::vector<std::pair<std::int64_t, std::int64_t>> jumps{};

  void jump(std::int64_t by_us) {
    if (jumps.empty()) jumps.emplace_back(0, wall_ahead_us);
    wall_ahead_us += by_us;
    jumps.emplace_back(now_us, wall_ahead_us);
  }
  /// The latest that the wall clock has shown since.
  [[nodiscard]] std::int64_t latest_wall_us(std::int64_t since_us) const {
    std::int64_t latest_us = wall_us();
    std::int64_t until_us = now_us;
    for (auto at = jumps.rbegin(); at != jumps.rend(); ++at) {
      latest_us = std::max(latest_us, until_us + at->second);
      if (at->first < since_us) break;
      until_us = at->first;
    }
    return latest_us;
  }
  [[nodiscard]] Instant instant() const { return Instant{Duration{now_us}}; }
  [[nodiscard]] std::int64_t wall_us() const { return now_us + wall_ahead_us; }
  [[nodiscard]] Now now() const { return {instant(), WallTime{Duration{wall_us()}}}; }
};

}  // namespace weir::simulation
