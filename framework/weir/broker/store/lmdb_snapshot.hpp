#pragma once

#include <array>
#include <vector>

#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {

/// See core::Snapshot. The store must outlive it.
class LmdbSnapshot final : public core::Snapshot {
 public:
  explicit LmdbSnapshot(LmdbStore& store);
  ~LmdbSnapshot() override;
  LmdbSnapshot(const LmdbSnapshot&) = delete;
  LmdbSnapshot& operator=(const LmdbSnapshot&) = delete;

  [[nodiscard]] std::optional<std::string_view> segment(core::SegmentKey key) override;
  [[nodiscard]] std::optional<std::string_view> columns(core::SegmentKey key) override;
  void prefetch(core::SegmentKey key) override;
  [[nodiscard]] bool is_as_written(core::SegmentKey key, std::string_view stored, std::string_view run) override;
  [[nodiscard]] std::optional<std::string_view> record(Place place) override;
  [[nodiscard]] std::optional<std::string_view> dead(Place place) override;
  core::DueWalk due(const core::DueSearch& search, const core::Places& but_for,
                    std::vector<core::RecordHead>& out) override;
  [[nodiscard]] std::optional<core::RecordHead> record_head(Place place) override;
  void dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) override;

 private:
  LmdbStore& store_;
  /// The bytes under the key, not checked.
  [[nodiscard]] std::optional<std::string_view> find(const core::SegmentKey& key);

  /// Segments that were looked up before they are read.
  struct Located {
    core::SegmentKey key;  // segment 0: none
    std::optional<std::string_view> stored;
  };
  std::array<Located, 16> located_;
  [[nodiscard]] Located& located(const core::SegmentKey& key) {
    return located_[(key.segment + key.queue) % located_.size()];  // neighbours in a frame have places of their own
  }
  MDB_txn* txn_ = nullptr;
  v1::Record record_;
};

}  // namespace weir::broker
