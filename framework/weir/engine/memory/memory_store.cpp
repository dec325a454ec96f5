#include "weir/engine/memory/memory_store.hpp"

#include <stdexcept>

#include "weir/protocol/frame.hpp"

namespace weir::engine::memory {

using namespace broker::core;

namespace {

v1::Record parse(const std::string& bytes) {
  v1::Record record;
  record.ParseFromString(bytes);
  return record;
}

RecordHead head_of(const Place& place, const v1::Record& record) {
  RecordHead head;
  head.place = place;
  head.type = record.type();
  head.lane = static_cast<Lane>(record.priority());
  head.attempts = record.attempts();
  head.due_us = record.due_us();
  head.bytes = Bytes{record.body().size()};
  head.lease = {record.incarnation(), record.lease()};
  return head;
}

DueCursor cursor_of(const Place& place, const v1::Record& record) {
  return {record.due_us(), place.segment, place.index};
}

}  // namespace

/// Holds the lock for as long as it lives: a short look.
struct MemoryStore::Look : Snapshot {
  explicit Look(MemoryStore& the_store) : store(the_store), guard(the_store.lock_) {}

  std::optional<std::string_view> segment(SegmentKey key) override { return find(store.segments_, key); }
  std::optional<std::string_view> record(Place place) override { return find(store.records_, place); }
  std::optional<std::string_view> dead(Place place) override { return find(store.dead_, place); }

  void due(QueueId queue, DueCursor after, std::size_t most, std::vector<RecordHead>& out) override {
    auto at = store.due_.upper_bound({queue, after});
    for (; at != store.due_.end() && at->first.first == queue && most > 0; ++at, --most) {
      out.push_back(head_of(at->second, parse(store.records_.at(at->second))));
    }
  }
  std::optional<RecordHead> record_head(Place place) override {
    const auto at = store.records_.find(place);
    if (at == store.records_.end()) return std::nullopt;
    return head_of(place, parse(at->second));
  }
  void dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) override {
    auto at = after ? store.dead_.upper_bound(*after) : store.dead_.lower_bound(Place{queue, 0, 0});
    for (; at != store.dead_.end() && at->first.queue == queue && most > 0; ++at, --most) out.push_back(at->first);
  }

  template <class Map, class Key>
  static std::optional<std::string_view> find(const Map& map, const Key& key) {
    const auto at = map.find(key);
    if (at == map.end()) return std::nullopt;
    return std::string_view(at->second);
  }

  MemoryStore& store;
  std::unique_lock<std::recursive_mutex> guard;
};

Recovered MemoryStore::recover() {
  const std::lock_guard guard(lock_);
  Recovered recovered;
  recovered.incarnation = ++incarnation_;
  for (const auto& [id, state] : queues_) {
    Recovered::Queue queue;
    queue.id = id;
    queue.state = state;
    for (Lane lane = 0; lane < lanes_most; ++lane) {
      for (auto at = heads_.lower_bound({id, lane, 0});
           at != heads_.end() && at->first.queue == id && at->first.lane == lane; ++at) {
        queue.segments.push_back({lane, at->first.segment, at->second});
      }
    }
    for (auto at = records_.lower_bound({id, 0, 0}); at != records_.end() && at->first.queue == id; ++at) {
      queue.records += Load{Messages{1}, Bytes{parse(at->second).body().size()}};
    }
    for (auto at = dead_.lower_bound({id, 0, 0}); at != dead_.end() && at->first.queue == id; ++at) {
      queue.dead += Messages{1};
    }
    recovered.queues.push_back(std::move(queue));
  }
  for (const auto& [key, note] : sessions_) recovered.sessions.push_back({key.first, key.second, note});
  for (const auto& [id, mark] : publishers_) recovered.publishers.push_back({id, mark});
  return recovered;
}

void MemoryStore::commit(const Batch& batch) {
  const std::lock_guard guard(lock_);
  for (const auto& one : batch.writes) {
    std::visit([this](const auto& op) { write(op); }, one);
  }
}

std::unique_ptr<Snapshot> MemoryStore::snapshot() { return std::make_unique<Look>(*this); }

void MemoryStore::write(const PutSegment& put) {
  v1::Segment segment;
  *segment.mutable_index() = *put.index;
  segment.set_published_at_us(put.published_at_us);
  std::string run;
  for (const auto& piece : put.run) run.append(piece.bytes);
  segment.set_run(std::move(run));
  segments_[put.key] = segment.SerializeAsString();
  heads_[put.key] = put.head;
}

void MemoryStore::write(const PutSettled& put) { heads_.at(put.key).set_settled(put.settled); }

void MemoryStore::write(const DropSegment& drop) {
  segments_.erase(drop.key);
  heads_.erase(drop.key);
}

void MemoryStore::write(const PutRecord& put) {
  v1::Record record = put.record;
  record.set_body(std::string(put.body.bytes));
  put_record(put.place, record);
}

void MemoryStore::write(const MoveMessage& move) {
  v1::Record record;
  if (move.source == Source::segment) {
    record = record_of({move.place.queue, move.lane, move.place.segment}, move.place.index);
  } else {
    record = parse(records_.at(move.place));
    drop_record(move.place);
  }
  record.set_attempts(move.attempts);
  record.set_incarnation(move.lease.incarnation);
  record.set_lease(move.lease.counter);
  if (move.attempt) *record.add_history() = *move.attempt;
  record.set_due_us(move.dead ? 0 : move.at_us);
  record.set_dead_since_us(move.dead ? move.at_us : 0);
  if (move.dead) {
    dead_[move.place] = record.SerializeAsString();
  } else {
    put_record(move.place, record);
  }
}

void MemoryStore::write(const DropRecord& drop) { drop_record(drop.place); }

void MemoryStore::write(const ReplayDead& replay) {
  const auto at = dead_.find(replay.place);
  if (at == dead_.end()) return;
  v1::Record record = parse(at->second);
  dead_.erase(at);
  record.set_attempts(0);
  record.set_dead_since_us(0);
  record.set_due_us(replay.due_us);
  put_record(replay.place, record);
}

void MemoryStore::write(const DropDead& drop) { dead_.erase(drop.place); }
void MemoryStore::write(const NoteSession& note) { sessions_[{note.token, note.shard}] = note.note; }
void MemoryStore::write(const ForgetSession& forget) { sessions_.erase({forget.token, forget.shard}); }
void MemoryStore::write(const PutPublisher& put) { publishers_[put.publisher] = put.mark; }
void MemoryStore::write(const DropPublisher& drop) { publishers_.erase(drop.publisher); }
void MemoryStore::write(const PutQueue& put) { queues_[put.queue] = put.state; }

v1::Record MemoryStore::record_of(const SegmentKey& key, std::uint32_t index) const {
  v1::Index columns;
  std::int64_t published = 0;
  const auto run = protocol::decode(segments_.at(key), columns, published);
  std::size_t at = 0;
  const int i = static_cast<int>(index);
  for (int before = 0; before < i; ++before) at += columns.lengths(before);
  v1::Record record;
  record.set_type(columns.types(columns.type_of_size() > 0 ? static_cast<int>(columns.type_of(i)) : 0));
  if (columns.key_size() > 0) record.set_key(columns.key(i));
  if (columns.unique_id_size() > 0) record.set_unique_id(columns.unique_id(i));
  record.set_priority(key.lane);
  record.set_published_at_us(published);
  record.set_body(std::string(run.value().substr(at, columns.lengths(i))));
  return record;
}

void MemoryStore::put_record(const Place& place, const v1::Record& record) {
  drop_record(place);
  records_[place] = record.SerializeAsString();
  due_[{place.queue, cursor_of(place, record)}] = place;
}

void MemoryStore::drop_record(const Place& place) {
  const auto at = records_.find(place);
  if (at == records_.end()) return;
  due_.erase({place.queue, cursor_of(place, parse(at->second))});
  records_.erase(at);
}

}  // namespace weir::engine::memory
