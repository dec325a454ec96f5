#pragma once

#include <cstdint>

namespace weir::broker {

/// What has happened to a commit when it is confirmed.
enum class Durability : std::uint8_t {
  /// It is on disk: survives power loss.
  fsync,
  /// It is with the operating system (MDB_NOSYNC): survives kill -9 of the broker, since the page cache does. While
  /// there is work, all is synced once per second. Power loss may lose what was confirmed since and, on a file system
  /// that does not keep the order of writes, damage the store.
  os,
  /// As `os`, but nothing is ever synced, and nothing promised: for tests, and for work that can be published again.
  none,
};

}  // namespace weir::broker
