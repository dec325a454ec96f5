#pragma once

/// One run: which seed, and what was taken away from it (by hand, or by the shrinker).

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace weir::simulation {

struct RunOptions {
  std::uint64_t seed = 1;
  std::set<std::string> without;      ///< kinds of faults, by name; "outputs", "delays", "times" and "operator" too
  std::vector<bool> skipped;          ///< faults that do not happen, by their number in the run
  std::uint32_t messages_most = ~0U;  ///< a publisher's
  std::uint32_t publishers_most = ~0U;
  std::uint32_t processes_most = ~0U;
  std::uint64_t steps_most = ~0ULL;
  bool trace = false;
};

}  // namespace weir::simulation
