#pragma once

/// Tells a recorder whose work the threads of offload run (worker/offload_lines.cpp).

#include <cstdint>

namespace weir::async {

/// The handler whose work it is. Taken on the thread that offloads, and passed to the thread that runs the work.
struct OffloadOwner {
  void* record = nullptr;  ///< null: no handler's
  std::uint32_t slot{};
};

struct OffloadWatch {
  /// Called on the thread that offloads.
  OffloadOwner (*owner)() noexcept;
  /// Called on each thread of the pool when it begins.
  void (*thread_begins)() noexcept;
  /// Called on thread `number` of the pool, counted from 0, when it begins the owner's work, and when it ends it.
  void (*begins)(std::uint32_t number, OffloadOwner owner) noexcept;
  void (*ends)(std::uint32_t number, OffloadOwner owner) noexcept;
};

/// Sets the watch of the process. Call it before any work is offloaded; the last call counts. Lifetime: `watch`
/// outlives the process's work.
void watch_offloads(const OffloadWatch& watch);

}  // namespace weir::async
