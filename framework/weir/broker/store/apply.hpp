#pragma once

/// One batch's writes, carried out in one transaction.
// RULE: one_transaction_a_batch

#include <map>
#include <string>
#include <vector>

#include "weir/broker/core/bits.hpp"
#include "weir/broker/core/store.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {

class Apply {
 public:
  /// `scratch` is the store's, reused commit after commit.
  Apply(MDB_txn* txn, const Databases& databases, std::string& scratch)
      : txn_(txn),
        databases_(databases),
        scratch_(scratch),
        segments_(txn, databases.segments),
        records_(txn, databases.records),
        due_(txn, databases.due) {
    MDB_stat status{};
    lmdb::check(mdb_stat(txn, databases.due, &status), "mdb_stat");
    page_bytes_ = status.ms_psize;
  }

  void operator()(const core::PutSegment& write);
  void operator()(const core::PutSettled& write);
  void operator()(const core::DropSegment& write);
  void operator()(const core::PutRecord& write);
  void operator()(const core::MoveMessage& write);
  void operator()(const core::DropRecord& write);
  void operator()(const core::ReplayDead& write);
  void operator()(const core::DropDead& write);
  void operator()(const core::NoteSession& write);
  void operator()(const core::ForgetSession& write);
  void operator()(const core::PutPublisher& write);
  void operator()(const core::DropPublisher& write);
  void operator()(const core::PutQueue& write);

  /// Messages that could not be moved, and were left as they are.
  [[nodiscard]] const std::vector<core::Damage>& damaged() const { return damaged_; }

 private:
  void put_record(const Place& place, std::string_view body);
  /// Fills `record_` from the segment, and `body_` with the message. False if it is damaged.
  bool read_from_segment(const core::MoveMessage& move);
  /// Opens the segment in `opened_`; false if it is damaged.
  bool open(const core::SegmentKey& key, std::string_view stored);
  /// Fills `record_` and `body_` from the record, and removes the record and its due key. False if it is damaged.
  bool take_record(const Place& place);
  /// Fills `head_` with the segment's head as it is stored, or made anew from the columns. False if both are damaged.
  bool read_head(const core::SegmentKey& key);
  /// Removes the value if there is one, and its pages can be given back; else it stays.
  void remove(MDB_dbi database, std::string_view key);
  void put_message(MDB_dbi database, std::string_view key, const google::protobuf::MessageLite& message);

  MDB_txn* txn_;
  std::size_t page_bytes_{};
  const Databases& databases_;
  std::string& scratch_;
  lmdb::Cursor segments_;  ///< to read from
  lmdb::Cursor records_;
  lmdb::Cursor due_;
  v1::Record record_;
  v1::SegmentHead head_;
  layout::SegmentEncoder encoder_;
  std::string body_;
  std::vector<core::Damage> damaged_;
  std::map<core::SegmentKey, core::Bits> kept_;  ///< messages of damaged segments that were to be moved
  /// The segment that was last moved from. Neighbours fail together, and decoding its index for each would be slow.
  struct Opened {
    core::SegmentKey key;
    bool valid = false;
    v1::Index index;
    std::int64_t published_at_us{};
    std::size_t run_at{};
    std::vector<std::size_t> offsets;  ///< where each message begins in the run, and the run's end
  } opened_;
};

}  // namespace weir::broker
