// A consistent look at what is committed: one read transaction.
#include <algorithm>

#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_snapshot.hpp"

namespace weir::broker {

LmdbSnapshot::LmdbSnapshot(LmdbStore& store) : store_(store) {
  {
    const std::lock_guard lock(store_.idle_mutex_);
    if (!store_.idle_.empty()) {
      txn_ = store_.idle_.back();
      store_.idle_.pop_back();
    }
  }
  if (txn_ != nullptr) {
    lmdb::check(mdb_txn_renew(txn_), "mdb_txn_renew");
  } else {
    lmdb::check(mdb_txn_begin(store_.env_, nullptr, MDB_RDONLY, &txn_), "mdb_txn_begin");
  }
}

LmdbSnapshot::~LmdbSnapshot() {
  mdb_txn_reset(txn_);
  const std::lock_guard lock(store_.idle_mutex_);
  store_.idle_.push_back(txn_);
}

std::optional<std::string_view> LmdbSnapshot::segment(core::SegmentKey key) {
  return lmdb::get(txn_, store_.databases_.segments, layout::key_of(key).view());
}

std::optional<std::string_view> LmdbSnapshot::record(Place place) {
  return lmdb::get(txn_, store_.databases_.records, layout::key_of(place).view());
}

std::optional<std::string_view> LmdbSnapshot::dead(Place place) {
  return lmdb::get(txn_, store_.databases_.dead, layout::key_of(place).view());
}

std::optional<core::RecordHead> LmdbSnapshot::record_head(Place place) {
  const auto stored = record(place);
  if (!stored) return std::nullopt;
  return layout::read_record_head(*stored, place, record_);
}

void LmdbSnapshot::due(QueueId queue, core::DueCursor after, std::size_t most, std::vector<core::RecordHead>& out) {
  lmdb::Cursor cursor(txn_, store_.databases_.due);
  bool more = cursor.seek(layout::due_key({queue, 0, 0}, after.due_us).view());
  while (more && most > 0 && layout::read_due_place(cursor.key()).queue == queue) {
    // One bucket. Its keys are in the order of places; asked for are its first in the order of due times, so the
    // `most` smallest are kept in a heap, whatever the bucket holds.
    const std::string bucket(cursor.key().substr(0, 12));
    bucket_.clear();
    for (; more && cursor.key().substr(0, 12) == bucket; more = cursor.next()) {
      const Place place = layout::read_due_place(cursor.key());
      const core::DueCursor at{layout::read_due_value(cursor.data()).due_us, place.segment, place.index};
      if (at <= after) continue;
      if (bucket_.size() == most) {
        if (at >= bucket_.front()) continue;
        std::pop_heap(bucket_.begin(), bucket_.end());
        bucket_.pop_back();
      }
      bucket_.push_back(at);
      std::push_heap(bucket_.begin(), bucket_.end());
    }
    std::sort_heap(bucket_.begin(), bucket_.end());
    for (const core::DueCursor& at : bucket_) {
      if (auto head = record_head({queue, at.segment, at.index})) {
        out.push_back(std::move(*head));
        --most;
      }
    }
  }
}

void LmdbSnapshot::dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) {
  lmdb::Cursor cursor(txn_, store_.databases_.dead);
  const Place from = after.value_or(Place{queue, 0, 0});
  for (bool more = cursor.seek(layout::key_of(from).view()); more && most > 0; more = cursor.next()) {
    const Place place = layout::read_place(cursor.key());
    if (place.queue != queue) return;
    if (after && place <= *after) continue;
    out.push_back(place);
    --most;
  }
}

}  // namespace weir::broker
