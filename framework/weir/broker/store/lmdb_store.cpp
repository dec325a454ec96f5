#include "weir/broker/store/lmdb_store.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <variant>
#include <vector>

#include "weir/broker/store/apply.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_snapshot.hpp"
#include "weir/broker/store/pages.hpp"
#include "weir/broker/store/recover.hpp"
#include "weir/broker/store/values.hpp"

namespace weir::broker {
namespace {

/// Free pages count as room only in runs that a segment of 64 KiB fits in.
constexpr std::size_t run_of_pages = 17;
/// A disk with less than this is full. A short write is reported as EIO, which says nothing else.
constexpr Bytes disk_full{1024 * 1024};

std::int64_t steady_us() {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::uint32_t read_number(std::string_view bytes) { return layout::read_queue(bytes); }

[[noreturn]] void throw_damaged(const std::filesystem::path& folder, const std::string& why) {
  throw StoreError("data folder " + folder.string() + ": data.mdb is not a store of Weir, or is damaged: " + why +
                   "; restore it from a backup, or name another folder in `broker.data` (a new store has no data.mdb)");
}

[[noreturn]] void throw_no_room(const std::filesystem::path& folder) {
  throw StoreError("data folder " + folder.string() +
                   ": no room on its disk for a new store; free some space and start again");
}

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
  if (error == MDB_INVALID || error == MDB_VERSION_MISMATCH || error == MDB_CORRUPTED || error == MDB_NOTFOUND) {
    throw_damaged(folder, mdb_strerror(error));
  }
  if (error == EACCES || error == EPERM || error == EROFS) {
    throw StoreError(where + " is not writable: its data.mdb or lock.mdb cannot be opened (" + mdb_strerror(error) +
                     "); give the broker's user write access to them");
  }
  throw StoreError(where + ": the store cannot be opened: " + mdb_strerror(error));
}

/// LMDB ends the process after this.
void on_assertion(MDB_env* env, const char* words) {
  const char* path = "?";
  mdb_env_get_path(env, &path);
  std::fprintf(stderr,
               "weir: the broker ends: data.mdb in %s was damaged while it was open, as LMDB finds it (%s); what was "
               "confirmed before is as safe as that file: see what `weir check-store` says of it\n",
               path, words);
}

/// An environment that is not opened yet.
MDB_env* make_environment(Bytes map) {
  MDB_env* env = nullptr;
  lmdb::check(mdb_env_create(&env), "mdb_env_create");
  lmdb::check(mdb_env_set_mapsize(env, map.value), "mdb_env_set_mapsize");
  lmdb::check(mdb_env_set_maxdbs(env, 16), "mdb_env_set_maxdbs");
  lmdb::check(mdb_env_set_assert(env, on_assertion), "mdb_env_set_assert");
  return env;
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

void Databases::open(MDB_txn* txn, unsigned flags) {
  const auto one = [&](const char* name, MDB_dbi& database) {
    lmdb::check(mdb_dbi_open(txn, name, flags, &database), "mdb_dbi_open");
  };
  one("meta", meta);
  one("queues", queues);
  one("segments", segments);
  one("heads", heads);
  one("records", records);
  one("due", due);
  one("dead", dead);
  one("sessions", sessions);
  one("publishers", publishers);
}

void LmdbStore::make_new() {
  if (free_on_disk(folder_.path()) < disk_full) throw_no_room(folder_.path());
  const std::filesystem::path making = folder_.path() / "new";
  std::error_code failed;
  std::filesystem::remove_all(making, failed);  // left by a start that did not come to its end
  std::filesystem::create_directory(making, failed);
  const std::unique_ptr<MDB_env, void (*)(MDB_env*)> env(make_environment({1 << 20}), mdb_env_close);
  const unsigned flags = settings_.durability == Durability::none ? MDB_NOSYNC : 0;
  if (const int code = mdb_env_open(env.get(), making.c_str(), flags, 0644); code != 0) {
    throw_unopened(folder_.path(), settings_.map, code);
  }
  try {
    lmdb::Transaction txn(env.get(), 0);
    Databases made;
    made.open(txn.get(), MDB_CREATE);
    lmdb::put(txn.get(), made.meta, layout::format_key, layout::key_of(layout::format_version).view());
    // RULE: store_has_an_identity
    values::put(txn.get(), made.meta, "store", random_id<StoreId>().view());
    values::put(txn.get(), made.meta, "commits", layout::bytes_of(std::uint64_t{0}).view());
    values::put(txn.get(), made.meta, "starts", "");
    txn.commit();
  } catch (const lmdb::Failure& failure) {
    if (is_want_of_room(failure.code, folder_.path())) throw_no_room(folder_.path());
    throw_unopened(folder_.path(), settings_.map, failure.code);
  }
  std::filesystem::rename(making / "data.mdb", folder_.file(), failed);
  if (failed) throw_unopened(folder_.path(), settings_.map, failed.value());
  std::filesystem::remove_all(making, failed);
  folder_.sync();
}

void LmdbStore::open() {
  if (!std::filesystem::exists(folder_.file())) make_new();
  folder_.hold_file();
  // (Without fsync a power loss may leave two last commits that are not neighbours.)
  const Looked looked{.was_synced = settings_.durability == Durability::fsync};
  if (const auto why = why_unusable(folder_.file(), looked)) throw_damaged(folder_.path(), *why);
  env_ = make_environment(settings_.map);
  // NOTLS: a read belongs to its object, not to the thread. Never WRITEMAP: a full disk would raise SIGBUS.
  unsigned flags = MDB_NOTLS;
  if (settings_.durability != Durability::fsync) flags |= MDB_NOSYNC;
  if (const int code = mdb_env_open(env_, folder_.path().c_str(), flags, 0644); code != 0) {
    throw_unopened(folder_.path(), settings_.map, code);
  }
  // Reads of a broker that was killed would keep its pages from being used again.
  mdb_reader_check(env_, nullptr);
  check_format();
  try {
    lmdb::Transaction txn(env_, MDB_RDONLY);
    databases_.open(txn.get(), 0);
    const auto commits = values::get(txn.get(), databases_.meta, "commits");
    if (commits) commits_ = layout::read_count(*commits);
    txn.commit();  // without this the databases would be closed again
  } catch (const lmdb::Failure& failure) {
    throw_unopened(folder_.path(), settings_.map, failure.code);
  }
  folder_.look();
  if (settings_.durability == Durability::os) synced_at_us_ = steady_us();
  static_cast<void>(tend_room());
}

void LmdbStore::check_format() {
  // The format is read before anything is written: another version's store is left as it is.
  lmdb::Transaction read(env_, MDB_RDONLY);
  MDB_dbi meta{};
  const int code = mdb_dbi_open(read.get(), "meta", 0, &meta);
  const auto format = code == MDB_SUCCESS ? lmdb::get(read.get(), meta, layout::format_key) : std::nullopt;
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
        // RULE: failing_disk_ends_the_broker
        throw StoreBroken("data folder " + folder_.path().string() + ": writing failed (" + failure.what() + ") with " +
                          std::to_string(free_on_disk(folder_.path()).value) +
                          " bytes free on it; nothing after the last confirmation was kept: check the disk, and "
                          "start the broker again");
      }
      // RULE: ballast_lets_settling_go_on
      if (again && ballast_.release(file(), end_of_file())) {
        again = false;
        continue;
      }
      room_enough_ = false;  // whatever was counted as free is not enough
      throw StoreFull("data folder " + folder_.path().string() + " is full (" + failure.what() +
                      "); free some space on its disk");
    }
  }
}

void LmdbStore::identify(MDB_txn* txn, core::Recovered& recovered) {
  const auto store = StoreId::from(values::get(txn, databases_.meta, "store").value_or(""));
  const bool counted = values::get(txn, databases_.meta, "commits").has_value();
  const auto starts = values::get(txn, databases_.meta, "starts");
  if (starts) recovered.starts = layout::read_starts(*starts);
  recovered.store = store.value_or(StoreId{});
  if (!store || !counted || !starts) {
    // Then no client can speak of this store: what clients hold is stale or in doubt, and all that is stored goes on.
    recovered.store = random_id<StoreId>();
    values::put(txn, databases_.meta, "store", recovered.store.view());
    values::put(txn, databases_.meta, "commits", layout::bytes_of(commits_).view());
    recovered.damaged.push_back(
        {0, "the store's identity, the count of its commits, or its starts: it has another identity now", {}});
  }
  recovered.commits = commits_;
  recovered.started(random_id<StartId>());
  values::put(txn, databases_.meta, "starts", layout::bytes_of(recovered.starts));
}

core::Recovered LmdbStore::recover() {
  core::Recovered recovered;
  commit_with_ballast([&](MDB_txn* txn) {
    // RULE: incarnation_rises
    const auto before = values::get(txn, databases_.meta, "incarnation");
    if (!before && lmdb::get(txn, databases_.meta, "incarnation")) {
      throw StoreError("data folder " + folder_.path().string() +
                       ": the store is damaged: its incarnation is not as it was written, and without it old "
                       "settlements would be taken for new ones; restore the data folder from a backup");
    }
    recovered.incarnation = (before ? read_number(*before) : 0) + 1;
    values::put(txn, databases_.meta, "incarnation", layout::key_of(recovered.incarnation).view());
    identify(txn, recovered);
  });
  // Synced at every durability of messages: an incarnation that came twice would let old leases settle new messages.
  if (const int code = mdb_env_sync(env_, 1); code != 0) throw StoreBroken("fsync: " + std::string(mdb_strerror(code)));
  lmdb::Transaction read(env_, MDB_RDONLY);
  read_all(read.get(), databases_, recovered);
  return recovered;
}

namespace {

/// Records of the batch that are gone, in the order of their due keys: they were acked in any order. No other write to
/// the same place follows one of them.
std::vector<core::DropRecord> by_due_key(const core::Batch& batch) {
  std::vector<core::DropRecord> all;
  for (const core::Write& write : batch.writes) {
    if (const auto* drop = std::get_if<core::DropRecord>(&write)) all.push_back(*drop);
  }
  std::sort(all.begin(), all.end(), [](const core::DropRecord& a, const core::DropRecord& b) {
    const auto key = [](const core::DropRecord& drop) {
      return std::tuple(drop.place.queue, drop.due_by, core::due_bucket(drop.due_us), drop.place);
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
    damaged_ = apply.damaged();
    values::put(txn, databases_.meta, "commits", layout::bytes_of(commits_ + 1).view());
  });
  ++commits_;
  // RULE: os_syncs_once_a_second
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
  // Database 0 is LMDB's list of free pages: one entry per transaction, with the number of its pages, then the pages.
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
  // Free pages are counted only when they matter: the count walks over a list that may be long.
  const Bytes resume = reserve + reserve;
  if (room_.disk < resume) room_.pages = free_pages() + allocated_beyond(file(), end_of_file());
  const Bytes usable = room_.sum();
  room_enough_ = room_enough_ ? usable >= reserve : usable >= resume;
  return room_enough_;
}

}  // namespace weir::broker
