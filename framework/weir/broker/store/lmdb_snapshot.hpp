#pragma once

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

  /// Its run is not checked again within a second: slices of one segment go out one after the other.
  [[nodiscard]] std::optional<std::string_view> segment(core::SegmentKey key) override;
  [[nodiscard]] std::optional<std::string_view> columns(core::SegmentKey key) override;
  [[nodiscard]] std::optional<std::string_view> record(Place place) override;
  [[nodiscard]] std::optional<std::string_view> dead(Place place) override;
  core::DueWalk due(const core::DueSearch& search, const core::Places& but_for,
                    std::vector<core::RecordHead>& out) override;
  [[nodiscard]] std::optional<core::RecordHead> record_head(Place place) override;
  void dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) override;

 private:
  LmdbStore& store_;
  MDB_txn* txn_ = nullptr;
  v1::Record record_;
};

}  // namespace weir::broker
