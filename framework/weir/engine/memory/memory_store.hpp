#pragma once

/// The store of memory:// : plain maps, with the semantics of the LMDB store and none of its durability.

#include <map>
#include <mutex>
#include <string>

#include "weir/broker/core/store.hpp"

namespace weir::engine::memory {

/// Thread: commit() and snapshots exclude each other by a lock, which a thread may take twice: looks nest.
class MemoryStore : public broker::core::Store {
 public:
  [[nodiscard]] broker::core::Recovered recover() override;
  void commit(const broker::core::Batch& batch) override;
  [[nodiscard]] std::unique_ptr<broker::core::Snapshot> snapshot() override;

 private:
  struct Look;
  using DueKey = std::pair<QueueId, broker::core::DueCursor>;

  void write(const broker::core::PutSegment& put);
  void write(const broker::core::PutSettled& put);
  void write(const broker::core::DropSegment& drop);
  void write(const broker::core::PutRecord& put);
  void write(const broker::core::MoveMessage& move);
  void write(const broker::core::DropRecord& drop);
  void write(const broker::core::ReplayDead& replay);
  void write(const broker::core::DropDead& drop);
  void write(const broker::core::NoteSession& note);
  void write(const broker::core::ForgetSession& forget);
  void write(const broker::core::PutPublisher& put);
  void write(const broker::core::DropPublisher& drop);
  void write(const broker::core::PutQueue& put);

  /// The record that a message of a segment becomes.
  [[nodiscard]] v1::Record record_of(const broker::core::SegmentKey& key, std::uint32_t index) const;
  void put_record(const Place& place, const v1::Record& record);
  void drop_record(const Place& place);

  std::recursive_mutex lock_;
  std::uint32_t incarnation_ = 0;
  std::map<broker::core::SegmentKey, std::string> segments_;
  std::map<broker::core::SegmentKey, v1::SegmentHead> heads_;
  std::map<Place, std::string> records_;
  std::map<DueKey, Place> due_;
  std::map<Place, std::string> dead_;
  std::map<std::pair<ProcessToken, std::uint32_t>, v1::SessionNote> sessions_;
  std::map<PublisherId, v1::PublisherMark> publishers_;
  std::map<QueueId, v1::QueueState> queues_;
};

}  // namespace weir::engine::memory
