#pragma once

/// The store port on LMDB: one environment in a locked data folder, one writing thread, short reads.
///
/// README.md beside this tells the layout and the rules it keeps.

#include <array>
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

/// Of addresses, not of disk: the file is as large as what it holds. A sanitizer needs most of them itself.
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
  /// Opens all; `flags` as of mdb_dbi_open. Throws: lmdb::Failure (MDB_NOTFOUND: one is not there, and is not to be
  /// made).
  void open(MDB_txn* txn, unsigned flags);
};

/// What is left to write to.
struct Room {
  Bytes disk;     ///< free on the disk
  Bytes ballast;  ///< held back
  Bytes pages;    ///< free inside LMDB's file, in runs long enough for a segment, or its own already beyond its last
                  ///< page; counted only when the rest is short
  [[nodiscard]] Bytes sum() const { return disk + ballast + pages; }
};

/// Which segments were read and found whole within the last second. Thread: the one that reads.
class LatelyChecked {
 public:
  [[nodiscard]] bool lately(const core::SegmentKey& key) const;
  void note(const core::SegmentKey& key);

 private:
  struct One {
    core::SegmentKey key;
    std::int64_t until_us{};  ///< steady clock
  };
  [[nodiscard]] static std::size_t at(const core::SegmentKey& key) { return (key.segment + key.queue * 7) % 64; }
  std::array<One, 64> ones_;
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
  /// What the last commit could not move. Thread: the one that commits.
  [[nodiscard]] const std::vector<core::Damage>& damaged() const { return damaged_; }
  [[nodiscard]] std::unique_ptr<core::Snapshot> snapshot() override;

  /// Looks at the disk, makes the ballast again if there is room for it, and says whether publishing may go on: it
  /// stops below the reserve and goes on at twice that. Thread: the one that commits.
  [[nodiscard]] bool tend_room();
  /// Throws: StoreBroken if what is written now goes nowhere: see DataFolder::look(). Thread: the one that commits.
  void look() { folder_.look(); }
  /// As the last tend_room() saw it. Thread: the one that commits.
  [[nodiscard]] const Room& room() const { return room_; }
  /// The file that all of it is in.
  [[nodiscard]] std::string file_name() const { return folder_.file().string(); }

 private:
  friend class LmdbSnapshot;
  void open();
  /// In a folder of its own, which gives its data.mdb its name once it is whole: what bears that name was one once.
  void make_new();
  void check_format();
  /// Which store it is, and how many commits it has; another one if that is damaged.
  void identify(MDB_txn* txn, core::Recovered& recovered);
  /// Runs `write` in a transaction; for want of room gives up the ballast and tries once more.
  template <class Write>
  void commit_with_ballast(Write write);
  [[nodiscard]] Bytes free_pages();
  /// LMDB's, for what it has no call for.
  [[nodiscard]] int file() const;
  /// Behind the last page in use.
  [[nodiscard]] std::uint64_t end_of_file() const;

  StoreSettings settings_;
  DataFolder folder_;
  Ballast ballast_;
  MDB_env* env_ = nullptr;
  Databases databases_;
  std::uint64_t commits_ = 0;  ///< that are durable
  Room room_;
  bool room_enough_ = true;
  std::int64_t synced_at_us_ = 0;  ///< steady clock; for Durability::os
  std::string scratch_;
  std::vector<core::Damage> damaged_;
  LatelyChecked checked_;
  std::mutex idle_mutex_;
  std::vector<MDB_txn*> idle_;  ///< ended reads, kept: a renewal takes no lock and allocates nothing
};

}  // namespace weir::broker
