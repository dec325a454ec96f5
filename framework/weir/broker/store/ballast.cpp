#include "weir/broker/store/ballast.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace weir::broker {
namespace {

/// Bytes that a file really has on disk: a file made by ftruncate alone would hold nothing back.
std::uint64_t allocated(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

constexpr off_t claim_bytes = 256 * 1024;

}  // namespace

Ballast::Ballast(const std::filesystem::path& folder, Bytes reserve)
    : file_(folder / "ballast"), reserve_(reserve), stands_(reserve.value > 0 && allocated(file_) >= reserve.value) {}

bool Ballast::release(int file, std::uint64_t end) {
  std::error_code failed;
  const bool removed = std::filesystem::remove(file_, failed);
  stands_ = false;
  // In pieces: if another program is quicker to take some of the room, what was claimed before is kept.
  for (std::uint64_t claimed = 0; removed && claimed < reserve_.value; claimed += claim_bytes) {
    if (::fallocate(file, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end + claimed), claim_bytes) != 0) break;
  }
  return removed;
}

bool Ballast::make(Bytes disk_free) {
  if (stands_ || reserve_.value == 0) return stands_;
  if (disk_free < reserve_ + reserve_) return false;
  const int file = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return false;
  stands_ = ::posix_fallocate(file, 0, static_cast<off_t>(reserve_.value)) == 0;
  ::close(file);
  if (!stands_) ::unlink(file_.c_str());
  return stands_;
}

Bytes allocated_beyond(int file, std::uint64_t end) {
  struct stat status {};
  if (::fstat(file, &status) != 0) return {0};
  const std::uint64_t has = static_cast<std::uint64_t>(status.st_blocks) * 512;
  return {has > end ? has - end : 0};
}

Bytes free_on_disk(const std::filesystem::path& folder) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0) return {0};
  return {static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize};
}

}  // namespace weir::broker
