#pragma once

/// The data folder belongs to one broker at a time: LMDB itself would let two in, and their heads would differ.

#include <cstdint>
#include <filesystem>

namespace weir::broker {

/// The folder and the file in it, locked for as long as this lives, even through kill -9: the kernel lets go of the
/// locks. They are on the folder and on data.mdb themselves (flock, on descriptors that nobody else has: LMDB closes
/// its own), not on a name beside them that somebody may remove.
class DataFolder {
 public:
  /// Makes the folder if it is not there. Throws: StoreError if it cannot be made, is not writable, or is in use by
  /// another broker.
  explicit DataFolder(std::filesystem::path path);
  ~DataFolder();
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path file() const { return path_ / "data.mdb"; }
  /// What was renamed in it is on disk. (A disk that cannot says so elsewhere.)
  void sync();
  /// data.mdb, which must be there, is locked too, and held to be the one that file() names. Throws: StoreError.
  void hold_file();
  /// The folder is where it was, and can be written. Throws: StoreBroken if it or its data.mdb was removed, replaced,
  /// cut off, or made read-only: what would be written there now is lost. Some microseconds. Thread: one at a time.
  void look();

 private:
  std::filesystem::path path_;
  int folder_ = -1;
  int file_ = -1;
  std::uint64_t size_seen_ = 0;
};

/// True if a broker has `file`, a data.mdb, open; it may be there or not.
[[nodiscard]] bool is_held(const std::filesystem::path& file);

}  // namespace weir::broker
