#include "weir/broker/store/ballast.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace weir::broker {
namespace {

/// Bytes that a file really has on disk: one made by ftruncate alone would hold nothing back.
std::uint64_t allocated(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace

Ballast::Ballast(const std::filesystem::path& folder, Bytes reserve)
    : file_(folder / "ballast"), reserve_(reserve), stands_(reserve.value > 0 && allocated(file_) >= reserve.value) {}

bool Ballast::release() {
  std::error_code failed;
  const bool removed = std::filesystem::remove(file_, failed);
  stands_ = false;
  return removed;
}

bool Ballast::make(Bytes disk_free) {
  if (stands_ || reserve_.value == 0) return stands_;
  if (disk_free < reserve_ + reserve_) return false;
  const int file = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return false;
  stands_ = ::posix_fallocate(file, 0, static_cast<off_t>(reserve_.value)) == 0;
  ::close(file);
  if (!stands_) release();
  return stands_;
}

Bytes free_on_disk(const std::filesystem::path& folder) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0) return {0};
  return {static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize};
}

}  // namespace weir::broker
