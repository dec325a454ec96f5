#include "weir/broker/store/data_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "weir/broker/store/store_error.hpp"

namespace weir::broker {
namespace {

[[noreturn]] void throw_unusable(const std::filesystem::path& path, int error) {
  const std::string folder = "data folder " + path.string();
  if (error == EACCES || error == EPERM || error == EROFS) {
    throw StoreError(folder + " is not writable: " + std::strerror(error) +
                     "; give the broker's user write access to it, or name another folder in `broker.data`");
  }
  if (error == ENOSPC || error == EDQUOT) {
    throw StoreError(folder + ": no room on its disk: " + std::strerror(error) + "; free some space and start again");
  }
  throw StoreError(folder + " cannot be used: " + std::strerror(error) + "; name another folder in `broker.data`");
}

[[noreturn]] void throw_gone(const std::filesystem::path& path, const std::string& what) {
  throw StoreBroken("data folder " + path.string() + ": " + what +
                    " while the broker ran on it; what is written there now would be lost, so it ends: "
                    "put the folder back and start the broker again");
}

/// The process that holds a lock on the file behind `descriptor`, by the kernel's list (proc(5)); empty if not listed.
std::string holder(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return {};
  const std::string inode = ":" + std::to_string(status.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, advisory, how, pid, where;
    words >> number >> kind >> advisory >> how >> pid >> where;
    if (kind == "FLOCK" && where.ends_with(inode) && pid != "0") return " (pid " + pid + ")";
  }
  return {};
}

/// Throws: StoreError if another process has the lock; the caller closes `descriptor`.
void lock(int descriptor, const std::filesystem::path& path) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  const std::string who = holder(descriptor);
  if (error != EWOULDBLOCK) throw_unusable(path, error);
  throw StoreError("data folder " + path.string() + " is in use by another broker" + who +
                   "; stop that one, or name another folder in `broker.data`");
}

/// True if `path` still is what `descriptor` was opened as; `now` gets its status.
bool is_the_same(const std::filesystem::path& path, int descriptor, struct stat& now) {
  struct stat then {};
  return ::stat(path.c_str(), &now) == 0 && ::fstat(descriptor, &then) == 0 && now.st_dev == then.st_dev &&
         now.st_ino == then.st_ino;
}

}  // namespace

DataFolder::DataFolder(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code failed;
  std::filesystem::create_directories(path_, failed);
  if (failed && !std::filesystem::is_directory(path_)) throw_unusable(path_, failed.value());
  if (::access(path_.c_str(), W_OK | X_OK) != 0) throw_unusable(path_, errno);
  folder_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) throw_unusable(path_, errno);
  try {
    lock(folder_, path_);
  } catch (...) {
    ::close(folder_);
    throw;
  }
}

DataFolder::~DataFolder() {
  if (file_ >= 0) ::close(file_);
  ::close(folder_);
}

void DataFolder::sync() { static_cast<void>(::fsync(folder_)); }

void DataFolder::hold_file() {
  file_ = ::open(file().c_str(), O_RDWR | O_CLOEXEC);
  if (file_ < 0) {
    const int error = errno;
    if (error != EACCES && error != EPERM && error != EROFS) throw_unusable(path_, error);
    throw StoreError("data folder " + path_.string() + " is not writable: its data.mdb cannot be opened (" +
                     std::strerror(error) + "); give the broker's user write access to it");
  }
  lock(file_, path_);
}

void DataFolder::look() {
  struct stat status {};
  if (!is_the_same(path_, folder_, status)) throw_gone(path_, "it was removed or replaced");
  if (!is_the_same(file(), file_, status)) throw_gone(path_, "its data.mdb was removed or replaced");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < size_seen_) throw_gone(path_, "its data.mdb was cut off");
  size_seen_ = size;
  if (::access(file().c_str(), W_OK) != 0 || ::access(path_.c_str(), W_OK | X_OK) != 0) {
    throw_gone(path_, std::string("it was made read-only (") + std::strerror(errno) + ")");
  }
}

bool is_held(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool free = ::flock(descriptor, LOCK_SH | LOCK_NB) == 0;
  ::close(descriptor);
  return !free;
}

}  // namespace weir::broker
