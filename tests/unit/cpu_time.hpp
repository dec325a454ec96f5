#pragma once

/// What a call costs its thread: CPU, so that a busy machine changes little.

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <vector>

namespace weir::testing_cost {

/// By how much code that is not built for speed may be slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
inline constexpr double slower = 15;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
inline constexpr double slower = 15;
#else
inline constexpr double slower = 1;
#endif
#else
inline constexpr double slower = 1;
#endif

inline double thread_cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

/// The CPU of one call, in milliseconds of a build for speed.
template <class Call>
double cpu_ms(Call call) {
  const double before = thread_cpu_ms();
  call();
  return (thread_cpu_ms() - before) / slower;
}

/// The least CPU of three such calls: the first may pay for memory that the machine has never given out before, which
/// a virtual machine's host must find first (6 ms for 16 MiB were seen, of 3).
template <class Call>
double least_cpu_ms(Call call) {
  return std::min({cpu_ms(call), cpu_ms(call), cpu_ms(call)});
}

/// Fetches memory from the machine, and keeps it in the process's heap: the first touch of a page may cost a virtual
/// machine 100 times what it costs elsewhere, as its host takes back what lies idle (66 ms were seen for a call of 4).
inline void warm_memory() {
  static const bool once = [] {
    constexpr int mebibytes = 128;
    mallopt(M_TRIM_THRESHOLD, 2 * mebibytes << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);  // glibc takes no more
    std::vector<std::unique_ptr<char[]>> blocks;
    for (int i = 0; i < 4 * mebibytes; ++i) blocks.push_back(std::make_unique<char[]>(256 << 10));
    return true;
  }();
  static_cast<void>(once);
}

/// What a frame may cost its broker's loop in one turn: 5 ms, and 0.5 ms for each MiB of payload.
inline double turn_most_ms(std::size_t payload_bytes = 0) {
  return 5.0 + 0.5 * static_cast<double>(payload_bytes) / (1 << 20);
}

}  // namespace weir::testing_cost
