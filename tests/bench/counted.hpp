#pragma once

/// For a count of instructions: exactly so many iterations as WEIR_BENCH_ITERATIONS says (instructions_test.py).

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

namespace weir::bench {

inline void counted(benchmark::internal::Benchmark* one) {
  if (const char* iterations = std::getenv("WEIR_BENCH_ITERATIONS")) one->Iterations(std::stoll(iterations));
}

}  // namespace weir::bench
