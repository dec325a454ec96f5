#include "weir/worker/plugin_copy.hpp"

#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "weir/handler/plugin_file.hpp"
#include "weir/message/error.hpp"
#include "weir/worker/start_child.hpp"

namespace weir::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t hash_bytes = 16;
/// A try fails if another process removes the folder meanwhile.
constexpr int tries = 100;

[[noreturn]] void fail(const fs::path& at, const char* what) {
  throw Error(at.string() + ": " + what + ": " + std::strerror(errno));
}

/// Returns a folder that belongs to this user alone, and from which code may be run.
fs::path own_folder() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool has_runtime = runtime != nullptr && *runtime != '\0' && fs::is_directory(runtime);
  const fs::path folder =
      has_runtime ? fs::path(runtime) / "weir" : fs::temp_directory_path() / ("weir-" + std::to_string(geteuid()));
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail(folder, "cannot make this folder");
  struct stat is {};
  if (lstat(folder.c_str(), &is) != 0) fail(folder, "cannot look at it");
  if (!S_ISDIR(is.st_mode) || is.st_uid != geteuid() || (is.st_mode & 077) != 0) {
    throw Error(folder.string() + " is not this user's alone");
  }
  struct statvfs of {};
  if (statvfs(folder.c_str(), &of) != 0 || (of.f_flag & (ST_NOEXEC | ST_RDONLY)) != 0) {
    throw Error(folder.string() + " is on a file system that runs no code, or takes none");
  }
  return folder;
}

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code unknown;
  const auto size = fs::file_size(path, unknown);
  std::string bytes(unknown ? 0 : size, '\0');  // read in one piece: a process waits at its start for tens of megabytes
  if (unknown || !file.read(bytes.data(), static_cast<std::streamsize>(size))) {
    throw Error(path.string() + " cannot be read");
  }
  return bytes;
}

std::string hash_of(const std::string& bytes) {
  std::array<unsigned char, hash_bytes> hash{};
  if (sodium_init() < 0) throw Error("libsodium does not start");
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                     nullptr, 0);
  std::string text(2 * hash.size() + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), hash.data(), hash.size());
  text.pop_back();
  return text;
}

bool is_hash(const std::string& name) {
  return name.size() == 2 * hash_bytes && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// Opens the folder and locks it. Returns -1 if it is gone, or if another process holds the lock and `how` does not
/// wait.
int lock_folder(const fs::path& folder, int how) {
  const int opened = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (opened < 0) return -1;
  const int file = fcntl(opened, F_DUPFD_CLOEXEC, files_from);
  close(opened);
  struct stat locked {};
  struct stat there {};
  // The folder's last user may have removed it while this process waited.
  if (file >= 0 && flock(file, how) == 0 && fstat(file, &locked) == 0 && stat(folder.c_str(), &there) == 0 &&
      locked.st_ino == there.st_ino) {
    return file;
  }
  if (file >= 0) close(file);
  return -1;
}

/// Removes copies that no process uses, as their last user was killed.
void sweep(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& each : fs::directory_iterator(folder, ignored)) {
    if (!is_hash(each.path().filename().string())) continue;
    const int lock = lock_folder(each.path(), LOCK_EX | LOCK_NB);
    if (lock < 0) continue;
    fs::remove_all(each.path(), ignored);
    close(lock);
  }
}

/// Writes the copy whole or not at all, even if other processes do the same.
void write_copy(const fs::path& to, const std::string& bytes) {
  const fs::path part = to.string() + "." + std::to_string(getpid());
  {
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
      std::error_code ignored;
      fs::remove(part, ignored);
      throw Error(part.string() + " cannot be written");
    }
  }
  fs::permissions(part, fs::perms::owner_read | fs::perms::owner_exec);
  fs::rename(part, to);
}

}  // namespace

PluginCopy::PluginCopy(fs::path plugin) : plugin_(std::move(plugin)), seen_(see()) {
  try {
    copy();
  } catch (const std::exception& error) {
    in_place_because_ = error.what();
  }
}

void PluginCopy::copy() {
  if (handler::read_plugin_file(plugin_).run_path.find("ORIGIN") != std::string::npos) {
    throw Error("its run path speaks of $ORIGIN");
  }
  const std::string bytes = read_all(plugin_);
  const fs::path folder = own_folder();
  sweep(folder);
  const fs::path home = folder / hash_of(bytes);
  for (int i = 0; i < tries && lock_ < 0; ++i) {
    if (mkdir(home.c_str(), 0700) != 0 && errno != EEXIST) fail(home, "cannot make this folder");
    lock_ = lock_folder(home, LOCK_SH);
  }
  if (lock_ < 0) fail(home, "cannot lock it");
  const fs::path file = home / plugin_.filename();
  // Compares the bytes, not only the name: a power loss may have left half of a copy.
  if (!fs::exists(file) || read_all(file) != bytes) write_copy(file, bytes);
  copy_ = file;
}

PluginCopy::~PluginCopy() {
  if (lock_ < 0) return;
  std::error_code ignored;
  // Removes it if this process gets the only lock; otherwise another process still uses it.
  if (!copy_.empty() && flock(lock_, LOCK_EX | LOCK_NB) == 0) fs::remove_all(copy_.parent_path(), ignored);
  close(lock_);
}

bool PluginCopy::changed_in_place() const { return copy_.empty() && see() != seen_; }

std::optional<PluginCopy::Seen> PluginCopy::see() const {
  struct stat is {};
  if (stat(plugin_.c_str(), &is) != 0) return std::nullopt;
  return Seen{.device = is.st_dev,
              .inode = is.st_ino,
              .size = is.st_size,
              .changed_ns = std::int64_t{is.st_mtim.tv_sec} * 1'000'000'000 + is.st_mtim.tv_nsec};
}

}  // namespace weir::worker
