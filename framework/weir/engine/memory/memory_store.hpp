#pragma once

/// The store port over plain maps. memory:// keeps its queues in it, and tests run the core on it.
///
/// It behaves exactly as the LMDB store, and holds the same encodings, but only as long as the process lives. A broker
/// that "restarts" on the same MemoryStore recovers as from a disk.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weir/broker/core/store.hpp"

namespace weir::engine::memory {

namespace core = broker::core;

/// Thread: one at a time, also for snapshots.
class MemoryStore final : public core::Store {
 public:
  explicit MemoryStore(StoreId id = random_id<StoreId>()) : id_(id) {}

  [[nodiscard]] core::Recovered recover() override;
  void commit(const core::Batch& batch) override;
  [[nodiscard]] std::unique_ptr<core::Snapshot> snapshot() override;
  [[nodiscard]] std::uint64_t commits() const { return commits_; }
  /// Sets the id of the store's next start, instead of a random one.
  void starts_as(StartId id) { next_start_ = id; }

  struct DueKey {
    QueueId queue{};
    core::DueBy by{};
    core::DueCursor at;
    friend constexpr auto operator<=>(const DueKey&, const DueKey&) = default;
  };
  struct Maps {
    std::map<core::SegmentKey, std::string> segments;  ///< encoded v1::Segment
    std::map<core::SegmentKey, v1::SegmentHead> heads;
    std::map<Place, std::string> records;  ///< encoded v1::Record
    std::map<Place, std::string> dead;     ///< encoded v1::Record
    /// The exact time, and the size of the record's Body in bytes.
    std::map<DueKey, std::pair<std::int64_t, std::uint32_t>> due;
    std::map<std::pair<ProcessToken, std::uint32_t>, v1::SessionNote> sessions;
    std::map<PublisherId, v1::PublisherMark> publishers;
    std::map<QueueId, v1::QueueState> queues;
  };

 private:
  StoreId id_;
  Maps maps_;
  std::uint64_t commits_ = 0;
  std::uint32_t incarnation_ = 0;
  std::vector<core::Recovered::Start> starts_;
  std::optional<StartId> next_start_;
};

}  // namespace weir::engine::memory
