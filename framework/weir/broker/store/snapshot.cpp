// A consistent view of what is committed: one read transaction.
#include <algorithm>
#include <limits>

#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_snapshot.hpp"
#include "weir/broker/store/values.hpp"

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

std::optional<std::string_view> LmdbSnapshot::find(const core::SegmentKey& key) {
  const Located& at = located(key);
  return at.key == key ? at.stored : lmdb::get(txn_, store_.databases_.segments, layout::key_of(key).view());
}

std::optional<std::string_view> LmdbSnapshot::segment(core::SegmentKey key) {
  const auto stored = find(key);
  const auto split = stored ? sums::open_split(layout::key_of(key).view(), *stored) : std::nullopt;
  return split ? std::optional(split->value) : std::nullopt;
}

std::optional<std::string_view> LmdbSnapshot::columns(core::SegmentKey key) {
  const auto stored = find(key);
  const auto split = stored ? sums::open_head(layout::key_of(key).view(), *stored) : std::nullopt;
  return split ? std::optional(split->value) : std::nullopt;
}

bool LmdbSnapshot::is_as_written(core::SegmentKey key, std::string_view stored, std::string_view run) {
  return sums::is_payload(layout::key_of(key).view(), stored, run);
}

void LmdbSnapshot::prefetch(core::SegmentKey key) {
  const auto stored = find(key);
  located(key) = {key, stored};
  if (!stored || stored->empty()) return;
  constexpr std::size_t line = 64;  // bytes of a cache line
  __builtin_prefetch(stored->data());
  __builtin_prefetch(stored->data() + line);
  __builtin_prefetch(stored->data() + stored->size() - 1);  // the sums
}

std::optional<std::string_view> LmdbSnapshot::record(Place place) {
  return values::get_split(txn_, store_.databases_.records, layout::key_of(place).view());
}

std::optional<std::string_view> LmdbSnapshot::dead(Place place) {
  return values::get_split(txn_, store_.databases_.dead, layout::key_of(place).view());
}

std::optional<core::RecordHead> LmdbSnapshot::record_head(Place place) {
  const auto stored = values::get_head(txn_, store_.databases_.records, layout::key_of(place).view());
  if (!stored) return std::nullopt;
  return layout::read_record_head(*stored, place, record_);
}

core::DueWalk LmdbSnapshot::due(const core::DueSearch& search, const core::Places& but_for,
                                std::vector<core::RecordHead>& out) {
  const auto& [queue, by, after, until_us, all] = search;
  std::size_t most = all;
  core::DueWalk walk{after, std::numeric_limits<std::int64_t>::max(), 0, {}};
  std::size_t looked_at = 0;
  lmdb::Cursor cursor(txn_, store_.databases_.due);
  const layout::DueKey from = layout::due_key({queue, after.segment, after.index}, by, after.bucket_us);
  for (bool more = cursor.seek(from.view()); more; more = cursor.next()) {
    if (!layout::is_due_key(cursor.key())) continue;  // damaged: the start has named it
    const auto [place, here_by, bucket_us] = layout::read_due_key(cursor.key());
    if (place.queue != queue || here_by != by) break;
    const core::DueCursor here{bucket_us, place.segment, place.index};
    if (here <= after) continue;
    if (bucket_us > until_us || most == 0 || looked_at == core::looked_at_most) {
      walk.next_us = std::min(walk.next_us, bucket_us);
      break;
    }
    ++looked_at;
    bool is_due = true;
    if (!but_for.contains(place)) {
      const auto value = sums::open(cursor.key(), cursor.data());
      const std::int64_t due_us = value ? layout::read_due_value(*value).due_us : bucket_us;
      is_due = due_us <= until_us;
      if (!is_due) {
        walk.next_us = std::min(walk.next_us, due_us);
      } else if (auto head = value ? record_head(place) : std::nullopt) {
        out.push_back(std::move(*head));
        --most;
      } else {
        walk.damaged.push_back(place);
      }
    }
    if (is_due && walk.again == 0) {
      walk.at = here;
    } else {
      ++walk.again;
    }
  }
  return walk;
}

void LmdbSnapshot::dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) {
  lmdb::Cursor cursor(txn_, store_.databases_.dead);
  const Place from = after.value_or(Place{queue, 0, 0});
  for (bool more = cursor.seek(layout::key_of(from).view()); more && most > 0; more = cursor.next()) {
    if (!layout::is_place(cursor.key())) continue;
    const Place place = layout::read_place(cursor.key());
    if (place.queue != queue) return;
    if (after && place <= *after) continue;
    out.push_back(place);
    --most;
  }
}

}  // namespace weir::broker
