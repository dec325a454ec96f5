#include "weir/broker/store/lmdb_store.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <tuple>
#include <variant>
#include <vector>

#include "weir/broker/store/apply.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_snapshot.hpp"
#include "weir/broker/store/recover.hpp"

namespace weir::broker {
namespace {

/// Free pages count as room only in runs that a segment of 64 KiB fits in.
constexpr std::size_t run_of_pages = 17;
/// A disk with less than this is full: a short write is reported as EIO, and tells nothing else.
constexpr Bytes disk_full{1024 * 1024};

std::int64_t steady_us() {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::uint32_t read_number(std::string_view bytes) { return layout::read_queue(bytes); }

[[noreturn]] void throw_unopened(const std::filesystem::path& folder, Bytes map, int error) {
  constexpr std::uint64_t gib = 1ULL << 30;
  const std::string where = "data folder " + folder.string();
  rlimit limit{};
  if (error == ENOMEM && ::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    throw StoreError(where + ": the store maps " + std::to_string(map.value / gib) +
                     " GiB of addresses (not of memory), and this process may have " +
                     std::to_string(limit.rlim_cur / gib) +
                     " GiB (RLIMIT_AS); raise the limit: ulimit -v unlimited, or LimitAS=infinity for systemd");
  }
  if (error == MDB_INVALID || error == MDB_VERSION_MISMATCH || error == MDB_CORRUPTED) {
    throw StoreError(where + ": data.mdb is not a store of Weir, or is damaged (" + mdb_strerror(error) +
                     "); restore it from a backup, or name another folder in `broker.data`");
  }
  if (error == EACCES || error == EPERM || error == EROFS) {
    throw StoreError(where + " is not writable: its data.mdb or lock.mdb cannot be opened (" + mdb_strerror(error) +
                     "); give the broker's user write access to them");
  }
  throw StoreError(where + ": the store cannot be opened: " + mdb_strerror(error));
}

MDB_dbi open_database(MDB_txn* txn, const char* name) {
  MDB_dbi database{};
  lmdb::check(mdb_dbi_open(txn, name, MDB_CREATE, &database), "mdb_dbi_open");
  return database;
}

bool is_want_of_room(int code, const std::filesystem::path& folder) {
  if (code == MDB_MAP_FULL) return true;
  if (code != ENOSPC && code != EDQUOT && code != EIO) return false;
  return free_on_disk(folder) < disk_full || code == EDQUOT;
}

}  // namespace

LmdbStore::LmdbStore(StoreSettings settings)
    : settings_(std::move(settings)), folder_(settings_.data), ballast_(settings_.data, settings_.reserve) {
  try {
    open();
  } catch (...) {
    if (env_ != nullptr) mdb_env_close(env_);
    throw;
  }
}

LmdbStore::~LmdbStore() {
  for (MDB_txn* txn : idle_) mdb_txn_abort(txn);
  mdb_env_close(env_);
}

void LmdbStore::open() {
  if (!std::filesystem::exists(folder_.path() / "data.mdb") && free_on_disk(folder_.path()) < disk_full) {
    throw StoreError("data folder " + folder_.path().string() +
                     ": no room on its disk for a new store; free some space and start again");
  }
  lmdb::check(mdb_env_create(&env_), "mdb_env_create");
  lmdb::check(mdb_env_set_mapsize(env_, settings_.map.value), "mdb_env_set_mapsize");
  lmdb::check(mdb_env_set_maxdbs(env_, 16), "mdb_env_set_maxdbs");
  // NOTLS: reads belong to their objects, not to the thread. Never WRITEMAP: a full disk would be a SIGBUS.
  unsigned flags = MDB_NOTLS;
  if (settings_.durability != Durability::fsync) flags |= MDB_NOSYNC;
  if (const int code = mdb_env_open(env_, folder_.path().c_str(), flags, 0644); code != 0) {
    throw_unopened(folder_.path(), settings_.map, code);
  }
  // A killed broker's reads would keep its pages from being used again.
  mdb_reader_check(env_, nullptr);
  check_format();
  try {
    commit_with_ballast([&](MDB_txn* txn) {
      databases_.meta = open_database(txn, "meta");
      databases_.queues = open_database(txn, "queues");
      databases_.segments = open_database(txn, "segments");
      databases_.heads = open_database(txn, "heads");
      databases_.records = open_database(txn, "records");
      databases_.due = open_database(txn, "due");
      databases_.dead = open_database(txn, "dead");
      databases_.sessions = open_database(txn, "sessions");
      databases_.publishers = open_database(txn, "publishers");
      if (!lmdb::get(txn, databases_.meta, "format")) {
        lmdb::put(txn, databases_.meta, "format", layout::key_of(layout::format_version).view());
      }
    });
  } catch (const StoreFull&) {
    throw StoreError("data folder " + folder_.path().string() +
                     ": no room on its disk to open the store; free some space and start again");
  }
  if (settings_.durability == Durability::os) synced_at_us_ = steady_us();
  static_cast<void>(tend_room());
}

void LmdbStore::check_format() {
  // Read before anything is written: another version's store is left as it is.
  lmdb::Transaction read(env_, MDB_RDONLY);
  MDB_dbi meta{};
  const int code = mdb_dbi_open(read.get(), "meta", 0, &meta);
  MDB_stat all{};
  lmdb::check(mdb_stat(read.get(), 1 /* the environment's own list of databases */, &all), "mdb_stat");
  if (code == MDB_NOTFOUND && all.ms_entries == 0) return;  // new
  const auto format = code == MDB_SUCCESS ? lmdb::get(read.get(), meta, "format") : std::nullopt;
  if (!format) {
    throw StoreError("data folder " + folder_.path().string() +
                     ": data.mdb is an LMDB file, but not a store of Weir; name another folder in `broker.data`");
  }
  const std::uint32_t version = read_number(*format);
  if (version == layout::format_version) return;
  throw StoreError("data folder " + folder_.path().string() + " is of format " + std::to_string(version) +
                   "; this version of weir reads format " + std::to_string(layout::format_version) +
                   "; start the version that wrote it, or name another folder in `broker.data`");
}

template <class Write>
void LmdbStore::commit_with_ballast(Write write) {
  for (bool again = true;;) {
    try {
      lmdb::Transaction txn(env_, 0);
      write(txn.get());
      txn.commit();
      return;
    } catch (const lmdb::Failure& failure) {
      if (!is_want_of_room(failure.code, folder_.path())) {
        throw StoreBroken("data folder " + folder_.path().string() + ": writing failed (" + failure.what() + ") with " +
                          std::to_string(free_on_disk(folder_.path()).value) +
                          " bytes free on it; nothing after the last confirmation was kept: check the disk, and "
                          "start the broker again");
      }
      if (again && ballast_.release(file(), end_of_file())) {
        again = false;
        continue;
      }
      room_enough_ = false;  // whatever is counted: it does not do
      throw StoreFull("data folder " + folder_.path().string() + " is full (" + failure.what() +
                      "); free some space on its disk");
    }
  }
}

core::Recovered LmdbStore::recover() {
  core::Recovered recovered;
  commit_with_ballast([&](MDB_txn* txn) {
    const auto before = lmdb::get(txn, databases_.meta, "incarnation");
    recovered.incarnation = (before ? read_number(*before) : 0) + 1;
    lmdb::put(txn, databases_.meta, "incarnation", layout::key_of(recovered.incarnation).view());
  });
  // Whatever the durability of messages is: an incarnation that came twice would let old leases settle new messages.
  if (const int code = mdb_env_sync(env_, 1); code != 0) throw StoreBroken("fsync: " + std::string(mdb_strerror(code)));
  lmdb::Transaction read(env_, MDB_RDONLY);
  read_all(read.get(), databases_, recovered);
  return recovered;
}

namespace {

/// Records that are gone, in the order of their due keys: they were acked in any order. No other write of a batch comes
/// after such a one.
std::vector<core::DropRecord> by_due_key(const core::Batch& batch) {
  std::vector<core::DropRecord> all;
  for (const core::Write& write : batch.writes) {
    if (const auto* drop = std::get_if<core::DropRecord>(&write)) all.push_back(*drop);
  }
  std::sort(all.begin(), all.end(), [](const core::DropRecord& a, const core::DropRecord& b) {
    const auto key = [](const core::DropRecord& drop) {
      return std::tuple(drop.place.queue, core::due_bucket(drop.due_us), drop.place);
    };
    return key(a) < key(b);
  });
  return all;
}

}  // namespace

void LmdbStore::commit(const core::Batch& batch) {
  commit_with_ballast([&](MDB_txn* txn) {
    Apply apply(txn, databases_, scratch_);
    for (const core::Write& write : batch.writes) {
      if (!std::holds_alternative<core::DropRecord>(write)) std::visit(apply, write);
    }
    for (const core::DropRecord& gone : by_due_key(batch)) apply(gone);
  });
  if (settings_.durability == Durability::os && steady_us() - synced_at_us_ > 1'000'000) {
    synced_at_us_ = steady_us();
    if (const int code = mdb_env_sync(env_, 1); code != 0) {
      throw StoreBroken("data folder " + folder_.path().string() + ": fsync: " + mdb_strerror(code));
    }
  }
}

std::unique_ptr<core::Snapshot> LmdbStore::snapshot() { return std::make_unique<LmdbSnapshot>(*this); }

Bytes LmdbStore::free_pages() {
  lmdb::Transaction read(env_, MDB_RDONLY);
  MDB_stat status{};
  lmdb::check(mdb_stat(read.get(), databases_.meta, &status), "mdb_stat");
  // Database 0 is LMDB's list of free pages: an entry a transaction, being their number and then they.
  std::vector<std::size_t> free;
  for (lmdb::Cursor at(read.get(), 0); at.next();) {
    std::size_t count = 0;
    std::memcpy(&count, at.data().data(), sizeof count);
    const std::size_t before = free.size();
    free.resize(before + count);
    std::memcpy(free.data() + before, at.data().data() + sizeof count, count * sizeof count);
  }
  std::sort(free.begin(), free.end());
  std::uint64_t pages = 0;
  for (std::size_t i = 0; i < free.size();) {
    std::size_t end = i + 1;
    while (end < free.size() && free[end] == free[end - 1] + 1) ++end;
    if (end - i >= run_of_pages) pages += end - i;
    i = end;
  }
  return {pages * status.ms_psize};
}

int LmdbStore::file() const {
  mdb_filehandle_t file{};
  lmdb::check(mdb_env_get_fd(env_, &file), "mdb_env_get_fd");
  return file;
}

std::uint64_t LmdbStore::end_of_file() const {
  MDB_envinfo info{};
  MDB_stat status{};
  lmdb::check(mdb_env_info(env_, &info), "mdb_env_info");
  lmdb::check(mdb_env_stat(env_, &status), "mdb_env_stat");
  return (info.me_last_pgno + 1) * status.ms_psize;
}

bool LmdbStore::tend_room() {
  const Bytes reserve = settings_.reserve;
  room_.disk = free_on_disk(folder_.path());
  if (!ballast_.stands() && ballast_.make(room_.disk)) room_.disk = free_on_disk(folder_.path());
  room_.ballast = ballast_.held();
  room_.pages = {0};
  // Free pages are counted only when they matter: it is a walk over a list that may be long.
  const Bytes resume = reserve + reserve;
  if (room_.disk < resume) room_.pages = free_pages() + allocated_beyond(file(), end_of_file());
  const Bytes usable = room_.sum();
  room_enough_ = room_enough_ ? usable >= reserve : usable >= resume;
  return room_enough_;
}

}  // namespace weir::broker
