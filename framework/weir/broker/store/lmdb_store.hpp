#pragma once

/// The store port on LMDB: one environment in a locked data folder, one writing thread, short reads.
///
/// README.md beside this tells the layout and the rules it keeps.

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
};

/// What is left to write to.
struct Room {
  Bytes disk;     ///< free on the disk
  Bytes ballast;  ///< held back
  Bytes pages;    ///< free inside LMDB's file, in runs long enough for a segment, or its own already beyond its last
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
  [[nodiscard]] std::unique_ptr<core::Snapshot> snapshot() override;

  /// Looks at the disk, makes the ballast again if there is room for it, and says whether publishing may go on: it
  /// stops below the reserve and goes on at twice that. Thread: the one that commits.
  [[nodiscard]] bool tend_room();
  /// As the last tend_room() saw it. Thread: the one that commits.
  [[nodiscard]] const Room& room() const { return room_; }

 private:
  friend class LmdbSnapshot;
  void open();
  void check_format();
  void commit_once(const core::Batch& batch);
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
  Room room_;
  bool room_enough_ = true;
  std::int64_t synced_at_us_ = 0;  ///< steady clock; for Durability::os
  std::string scratch_;
  std::mutex idle_mutex_;
  std::vector<MDB_txn*> idle_;  ///< ended reads, kept: a renewal takes no lock and allocates nothing
};

}  // namespace weir::broker
