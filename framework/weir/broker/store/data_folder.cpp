#include "weir/broker/store/data_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
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

/// Who holds the lock; empty if it has not said so yet.
std::string holder(int lock) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(lock, text.data(), text.size(), 0);
  long pid = 0;
  if (size <= 0 || std::from_chars(text.data(), text.data() + size, pid).ec != std::errc{}) return {};
  return " (pid " + std::to_string(pid) + ")";
}

}  // namespace

DataFolder::DataFolder(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code failed;
  std::filesystem::create_directories(path_, failed);
  if (failed && !std::filesystem::is_directory(path_)) throw_unusable(path_, failed.value());
  if (::access(path_.c_str(), W_OK | X_OK) != 0) throw_unusable(path_, errno);
  const auto file = path_ / "broker.lock";
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw_unusable(path_, errno);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string who = holder(lock_);
    ::close(lock_);
    if (error != EWOULDBLOCK) throw_unusable(path_, error);
    throw StoreError("data folder " + path_.string() + " is in use by another broker" + who +
                     "; stop that one, or name another folder in `broker.data`");
  }
  // For people only: on a full disk it may fail, and nothing hangs on it.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, pid.data(), pid.size(), 0) < 0) return;
}

DataFolder::~DataFolder() { ::close(lock_); }

}  // namespace weir::broker
