#pragma once

/// Everything that goes wrong. A new fault is a row of the table in faults.cpp, and nowhere else.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "random.hpp"

namespace weir::simulation {

class World;

[[nodiscard]] std::size_t fault_kinds();
[[nodiscard]] const char* fault_name(std::size_t kind);
/// Weights by kind: a calm world now and then, else some kinds often and others never. `later`: a stream for rows that
/// were added since seeds were kept.
[[nodiscard]] std::vector<unsigned> draw_faults(Random& random, Random later);
/// It happens. `random` is this fault's own.
void happen(World& world, std::size_t kind, Random& random);
/// The whole machine is asleep: every clock goes on.
void sleep(World& world, std::int64_t for_us);
/// kill -9; it is started again after so long.
void crash_broker(World& world, std::int64_t starts_after_us);

}  // namespace weir::simulation
