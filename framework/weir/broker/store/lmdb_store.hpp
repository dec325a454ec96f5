#pragma once

/// The store port on LMDB: one environment in a locked data folder, one writing thread, short reads.
///
/// README.md beside this has the layout and the rules.

#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "weir/broker/core/store.hpp"
#include "weir/broker/store/ballast.hpp"
#include "weir/broker/store/data_folder.hpp"
#include "weir/broker/store/durability.hpp"
#include "weir/broker/store/lmdb.hpp"
#include "weir/broker/store/store_error.hpp"

namespace weir::broker {

/// A range of addresses, not of disk: the file is as large as what it holds. A sanitizer needs most addresses itself.
#ifdef WEIR_SANITIZED
inline constexpr Bytes map_default{64ULL << 30};
#else
inline constexpr Bytes map_default{1024ULL << 30};
#endif

struct StoreSettings {
  std::filesystem::path data;
  Durability durability = Durability::fsync;
  Bytes reserve{64ULL * 1024 * 1024};
  Bytes map = map_default;  ///< the store can never hold more
};

/// The databases of the environment.
struct Databases {
  MDB_dbi meta{}, queues{}, segments{}, heads{}, records{}, due{}, dead{}, sessions{}, publishers{};
  /// Opens all; `flags` as of mdb_dbi_open. Throws: lmdb::Failure (MDB_NOTFOUND: one is missing, and must not be made).
  void open(MDB_txn* txn, unsigned flags);
};

/// The room that is left for writing.
struct Room {
  Bytes disk;     ///< free on the disk
  Bytes ballast;  ///< held back
  Bytes pages;    ///< free inside LMDB's file, in runs long enough for a segment, and what the file has beyond its last
                  ///< page; counted only when the rest is short
  [[nodiscard]] Bytes sum() const { return disk + ballast + pages; }
};

class LmdbStore final : public core::Store {
 public:
  /// Throws: StoreError (not writable, in use, not a store, of another format, address space limited).
  explicit LmdbStore(StoreSettings settings);
  ~LmdbStore() override;
  LmdbStore(const LmdbStore&) = delete;
  LmdbStore& operator=(const LmdbStore&) = delete;

  [[nodiscard]] core::Recovered recover() override;
  /// Throws: StoreFull (try the same batch again later), StoreBroken (end the process).
  void commit(const core::Batch& batch) override;
  /// Messages that the last commit could not move. Thread: the one that commits.
  [[nodiscard]] const std::vector<core::Damage>& damaged() const { return damaged_; }
  [[nodiscard]] std::unique_ptr<core::Snapshot> snapshot() override;

  /// Looks at the disk, and makes the ballast again if there is room for it. True if publishing may go on: it stops
  /// below the reserve and goes on at twice that. Thread: the one that commits.
  [[nodiscard]] bool tend_room();
  /// Throws: StoreBroken if what is written now would be lost: see DataFolder::look(). Thread: the one that commits.
  void look() { folder_.look(); }
  /// The room as the last tend_room() saw it. Thread: the one that commits.
  [[nodiscard]] const Room& room() const { return room_; }
  /// The name of the file that all of it is in.
  [[nodiscard]] std::string file_name() const { return folder_.file().string(); }

 private:
  friend class LmdbSnapshot;
  void open();
  /// Makes a new store in a folder of its own, and gives its data.mdb the final name once it is whole. So a file of
  /// that name was whole once.
  void make_new();
  void check_format();
  /// Says which store it is, and how many commits it has; gives it a new identity if that is damaged.
  void identify(MDB_txn* txn, core::Recovered& recovered);
  /// Runs `write` in a transaction. If there is no room for it, gives up the ballast and tries once more.
  template <class Write>
  void commit_with_ballast(Write write);
  [[nodiscard]] Bytes free_pages();
  /// LMDB's file descriptor, for what LMDB has no call for.
  [[nodiscard]] int file() const;
  /// The end of the last page in use.
  [[nodiscard]] std::uint64_t end_of_file() const;

  StoreSettings settings_;
  DataFolder folder_;
  Ballast ballast_;
  MDB_env* env_ = nullptr;
  Databases databases_;
  std::uint64_t commits_ = 0;  ///< those that are durable
  Room room_;
  bool room_enough_ = true;
  std::int64_t synced_at_us_ = 0;  ///< steady clock; for Durability::os
  std::string scratch_;
  std::vector<core::Damage> damaged_;
  std::mutex idle_mutex_;
  std::vector<MDB_txn*> idle_;  ///< ended reads, kept: renewing one takes no lock and allocates nothing
};

}  // namespace weir::broker
