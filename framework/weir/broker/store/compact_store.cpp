#include "weir/broker/store/compact_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "weir/broker/store/check_store.hpp"
#include "weir/broker/store/data_folder.hpp"
#include "weir/broker/store/lmdb.hpp"
#include "weir/broker/store/pages.hpp"
#include "weir/broker/store/store_error.hpp"

namespace weir::broker {
namespace {

/// The folder where the new file is made. It is removed whatever happens.
class Making {
 public:
  explicit Making(const std::filesystem::path& folder) : path_(folder / "compacting") {
    std::filesystem::remove_all(path_);  // a compaction that was killed left it
    std::filesystem::create_directory(path_);
  }
  ~Making() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path file() const { return path_ / "data.mdb"; }

 private:
  std::filesystem::path path_;
};

std::string where(const std::filesystem::path& folder) { return "data folder " + folder.string(); }

void copy(const DataFolder& folder, const Making& making) {
  MDB_env* made = nullptr;
  lmdb::check(mdb_env_create(&made), "mdb_env_create");
  const std::unique_ptr<MDB_env, void (*)(MDB_env*)> env(made, mdb_env_close);
  lmdb::check(mdb_env_set_mapsize(env.get(), std::filesystem::file_size(folder.file()) + (1 << 20)),
              "mdb_env_set_mapsize");
  // No other process has it: the folder is locked.
  lmdb::check(mdb_env_open(env.get(), folder.path().c_str(), MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0644),
              "mdb_env_open");
  lmdb::check(mdb_env_copy2(env.get(), making.path().c_str(), MDB_CP_COMPACT), "mdb_env_copy2");
}

/// The broker's user goes on with the file, also if another user (root, for example) compacts it.
void keep_owner(const std::filesystem::path& of, const std::filesystem::path& file) {
  struct stat status {};
  const bool kept = ::stat(of.c_str(), &status) == 0 && ::chown(file.c_str(), status.st_uid, status.st_gid) == 0 &&
                    ::chmod(file.c_str(), status.st_mode & 07777U) == 0;
  if (!kept) {
    throw StoreError("the owner of " + of.string() + " cannot be kept (" + std::strerror(errno) +
                     "): compact it as that user, or as root. Nothing was changed");
  }
}

void sync_file(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!synced) throw StoreError("fsync of " + file.string() + " failed: " + std::strerror(error));
}

void make(const DataFolder& folder, const Making& making) {
  try {
    copy(folder, making);
  } catch (const lmdb::Failure& failure) {
    if (failure.code == ENOSPC || failure.code == EDQUOT) {
      throw StoreError(where(folder.path()) + ": no room on its disk for a compacted copy beside the old file; free " +
                       "some space, or compact a copy of the folder elsewhere. Nothing was changed");
    }
    throw StoreError(where(folder.path()) + " cannot be compacted: " + failure.what() + ". Nothing was changed");
  }
  keep_owner(folder.file(), making.file());
  sync_file(making.file());
  if (const auto why = why_unusable(making.file(), {.at_long_values = true, .was_synced = false})) {
    throw StoreError(where(folder.path()) + ": its compacted copy is not whole: " + *why + ". Nothing was changed");
  }
}

/// Throws: StoreError.
void refuse_what_is_no_whole_store(const std::filesystem::path& folder) {
  const StoreCheck check = check_store(folder);
  if (check.whole()) return;
  // Damaged values would be copied as they are. A damaged tree would lose values that cannot be named any more.
  throw StoreError(where(folder) + " is damaged: weir check-store " + folder.string() +
                   " says what of it. Nothing was changed");
}

}  // namespace

Compacted compact_store(const std::filesystem::path& folder) {
  refuse_what_is_no_whole_store(folder);
  DataFolder held(folder);
  held.hold_file();
  const Bytes before{std::filesystem::file_size(held.file())};
  const Making making(folder);
  make(held, making);
  const Bytes after{std::filesystem::file_size(making.file())};
  std::filesystem::rename(making.file(), held.file());
  held.sync();
  return {before, after};
}

}  // namespace weir::broker
