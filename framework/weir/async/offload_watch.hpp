#pragma once

/// Who runs in the threads of offload, told to whoever keeps a record of it (worker/offload_lines.cpp).

#include <cstdint>

namespace weir::async {

/// Whose work it is: noted where it is offloaded, told where it runs.
struct OffloadOwner {
  void* record = nullptr;  ///< null: nobody's
  std::uint32_t slot{};
};

struct OffloadWatch {
  /// On the thread that offloads.
  OffloadOwner (*owner)() noexcept;
  /// On a thread of the pool: it begins its life.
  void (*thread_begins)() noexcept;
  /// On thread `number` of the pool, counted from 0: it runs that one's work from here on, until it ends.
  void (*begins)(std::uint32_t number, OffloadOwner owner) noexcept;
  void (*ends)(std::uint32_t number, OffloadOwner owner) noexcept;
};

/// For the process, before anything is offloaded; `watch` outlives it. The last one counts.
void watch_offloads(const OffloadWatch& watch);

}  // namespace weir::async
