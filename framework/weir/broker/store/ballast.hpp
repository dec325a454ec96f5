#pragma once

/// Room that is kept back for settling: a preallocated file, whose room goes to the store's file when the disk is full
/// (promise 11).
///
/// LMDB needs free pages even to delete. So a disk that publishes filled to the last byte could never be emptied again.

#include <cstdint>
#include <filesystem>

#include "weir/message/units.hpp"

namespace weir::broker {

/// Thread: one at a time.
class Ballast {
 public:
  /// `reserve` of zero: there is no ballast. Makes nothing yet; a file from an earlier run counts if it is whole.
  Ballast(const std::filesystem::path& folder, Bytes reserve);

  [[nodiscard]] bool stands() const { return stands_; }
  [[nodiscard]] Bytes held() const { return stands_ ? reserve_ : Bytes{0}; }
  /// Gives the room to `file`, beyond `end`, where the store will write next, before another program takes it. False if
  /// there was none to give.
  bool release(int file, std::uint64_t end);
  /// Makes the ballast (again) if the disk keeps at least as much free besides; false if there is none now.
  bool make(Bytes disk_free);

 private:
  std::filesystem::path file_;
  Bytes reserve_;
  bool stands_ = false;
};

/// Bytes that `file` has on disk beyond `end`: room that is its own already.
[[nodiscard]] Bytes allocated_beyond(int file, std::uint64_t end);

/// Bytes that the disk of `folder` has free for the broker's user. Zero if it cannot be asked.
[[nodiscard]] Bytes free_on_disk(const std::filesystem::path& folder);

}  // namespace weir::broker
