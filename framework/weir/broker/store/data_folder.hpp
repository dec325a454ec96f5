#pragma once

/// The data folder belongs to one broker at a time: LMDB itself would let two in, and their heads would differ.

#include <filesystem>

namespace weir::broker {

/// The folder, made if it is not there, and locked (`broker.lock`) for as long as this lives, even through kill -9: the
/// kernel lets go of the lock.
class DataFolder {
 public:
  /// Throws: StoreError if it cannot be made, is not writable, or is in use by another broker.
  explicit DataFolder(std::filesystem::path path);
  ~DataFolder();
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace weir::broker
