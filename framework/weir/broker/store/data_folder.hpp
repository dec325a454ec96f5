#pragma once

/// The data folder belongs to one broker at a time. LMDB itself would let two in, with different states in memory.

#include <cstdint>
#include <filesystem>

namespace weir::broker {

/// The folder and the file in it, locked for as long as this lives. After kill -9 the kernel releases the locks. They
/// are on the folder and on data.mdb themselves (flock, on descriptors that nothing else has: LMDB closes its own), not
/// on a name beside them, which could be removed.
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
  /// Makes what was renamed in it durable. (A disk that cannot do so says it elsewhere.)
  void sync();
  /// Locks data.mdb too, which must be there. look() then expects it under the name of file(). Throws: StoreError.
  void hold_file();
  /// Checks that the folder is where it was, and can be written. Throws: StoreBroken if it or its data.mdb was removed,
  /// replaced, cut off, or made read-only: what would be written there now is lost. Takes some microseconds. Thread:
  /// one at a time.
  void look();

 private:
  std::filesystem::path path_;
  int folder_ = -1;
  int file_ = -1;
  std::uint64_t size_seen_ = 0;
};

/// True if a broker has `file`, a data.mdb, open. The file need not exist.
[[nodiscard]] bool is_held(const std::filesystem::path& file);

}  // namespace weir::broker
