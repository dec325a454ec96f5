#include "weir/engine/memory/memory_store.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <tuple>

#include "weir/message/error.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::engine::memory {
namespace {

using Maps = MemoryStore::Maps;

[[noreturn]] void throw_missing(const char* what, const Place& place) {
  throw Error(std::string(what) + ' ' + print_id(std::to_string(place.queue), place.segment, place.index) +
              " was to be moved, and is not in the store: report this as a defect of Weir");
}

v1::Record parse_record(const std::string& bytes, const Place& place) {
  v1::Record record;
  if (!record.ParseFromString(bytes)) throw_missing("record that parses", place);
  return record;
}

core::DueBy due_by(const v1::Record& record) { return record.by_wall() ? core::DueBy::wall : core::DueBy::broker; }

/// Applies writes one by one, in the same way as the LMDB store.
class Apply {
 public:
  explicit Apply(Maps& maps) : maps_(maps) {}

  void operator()(const core::PutSegment& write) {
    v1::Segment segment;
    const core::Contents& contents = *write.contents;
    v1::Index& index = *segment.mutable_index();
    index = contents.index;
    protocol::slice_names(contents.names, 0, static_cast<std::uint32_t>(index.lengths_size()), *index.mutable_names());
    segment.set_published_at_us(contents.published_at_us);
    for (const Slice& piece : contents.run) segment.mutable_run()->append(piece.bytes);
    maps_.segments[write.key] = segment.SerializeAsString();
    write.make_head(maps_.heads[write.key]);
  }
  void operator()(const core::PutSettled& write) {
    const auto head = maps_.heads.find(write.key);
    if (head == maps_.heads.end()) throw_missing("the head of", {write.key.queue, write.key.segment, 0});
    head->second.set_settled(write.settled);
  }
  void operator()(const core::DropSegment& write) {
    maps_.segments.erase(write.key);
    maps_.heads.erase(write.key);
  }
  void operator()(const core::PutRecord& write) {
    v1::Record record = write.record;
    record.set_body(std::string(write.body.bytes));
    put_record(write.place, record);
  }
  void operator()(const core::MoveMessage& write) {
    v1::Record record = write.source == core::Source::segment ? from_segment(write) : take_record(write.place);
    record.set_attempts(write.attempts);
    record.set_incarnation(write.lease.incarnation);
    record.set_lease(write.lease.counter);
    record.set_suspicion(write.suspicion);
    if (write.attempt) write.attempt->append_to(record);
    record.set_due_us(write.dead ? 0 : write.at_us);
    record.set_by_wall(false);
    record.set_dead_since_us(write.dead ? write.at_us : 0);
    if (write.dead) {
      maps_.dead[write.place] = record.SerializeAsString();
    } else {
      put_record(write.place, record);
    }
  }
  void operator()(const core::DropRecord& write) {
    if (maps_.records.contains(write.place)) take_record(write.place);
  }
  void operator()(const core::ReplayDead& write) {
    const auto dead = maps_.dead.find(write.place);
    if (dead == maps_.dead.end()) return;  // two operators may ask for the same one
    v1::Record record = parse_record(dead->second, write.place);
    record.set_attempts(0);
    core::append_replay(write.due_us, record);
    record.set_dead_since_us(0);
    record.set_due_us(write.due_us);
    record.set_by_wall(false);
    put_record(write.place, record);
    maps_.dead.erase(dead);
  }
  void operator()(const core::DropDead& write) { maps_.dead.erase(write.place); }
  void operator()(const core::NoteSession& write) { maps_.sessions[{write.token, write.shard}] = write.note; }
  void operator()(const core::ForgetSession& write) { maps_.sessions.erase({write.token, write.shard}); }
  void operator()(const core::PutPublisher& write) { maps_.publishers[write.publisher] = write.mark; }
  void operator()(const core::DropPublisher& write) { maps_.publishers.erase(write.publisher); }
  void operator()(const core::PutQueue& write) { maps_.queues[write.queue] = write.state; }

 private:
  static MemoryStore::DueKey due_key(const Place& place, const v1::Record& record) {
    return {place.queue, due_by(record), {core::due_bucket(record.due_us()), place.segment, place.index}};
  }

  void put_record(const Place& place, const v1::Record& record) {
    maps_.due[due_key(place, record)] = {record.due_us(), static_cast<std::uint32_t>(record.body().size())};
    maps_.records[place] = record.SerializeAsString();
  }

  v1::Record take_record(const Place& place) {
    const auto at = maps_.records.find(place);
    if (at == maps_.records.end()) throw_missing("record", place);
    v1::Record record = parse_record(at->second, place);
    maps_.due.erase(due_key(place, record));
    maps_.records.erase(at);
    return record;
  }

  v1::Record from_segment(const core::MoveMessage& move) {
    const auto at = maps_.segments.find({move.place.queue, move.lane, move.place.segment});
    v1::Segment segment;
    if (at == maps_.segments.end() || !segment.ParseFromString(at->second)) throw_missing("message", move.place);
    const v1::Index& index = segment.index();
    const int i = static_cast<int>(move.place.index);
    if (i >= index.lengths_size()) throw_missing("message", move.place);
    std::size_t offset = 0;
    for (int before = 0; before < i; ++before) offset += index.lengths(before);
    v1::Record record;
    record.set_type(index.types(index.type_of().empty() ? 0 : static_cast<int>(index.type_of(i))));
    if (!index.key().empty()) record.set_key(index.key(i));
    if (!index.unique_id().empty()) record.set_unique_id(index.unique_id(i));
    protocol::put_name(protocol::name_at(index.names(), move.place.index), *record.mutable_name());
    record.set_priority(move.lane);
    record.set_published_at_us(segment.published_at_us());
    record.set_body(segment.run().substr(offset, index.lengths(i)));
    return record;
  }

  Maps& maps_;
};

class MemorySnapshot final : public core::Snapshot {
 public:
  explicit MemorySnapshot(const Maps& maps) : maps_(maps) {}

  [[nodiscard]] std::optional<std::string_view> segment(core::SegmentKey key) override {
    return find(maps_.segments, key);
  }
  [[nodiscard]] std::optional<std::string_view> record(Place place) override { return find(maps_.records, place); }
  [[nodiscard]] std::optional<std::string_view> dead(Place place) override { return find(maps_.dead, place); }

  [[nodiscard]] std::optional<core::RecordHead> record_head(Place place) override {
    const auto at = maps_.records.find(place);
    if (at == maps_.records.end()) return std::nullopt;
    const v1::Record record = parse_record(at->second, place);
    core::RecordHead head;
    head.place = place;
    head.type = record.type();
    head.lane = static_cast<Lane>(record.priority());
    head.attempts = record.attempts();
    head.due_us = record.due_us();
    head.due_by = due_by(record);
    head.bytes = {record.body().size()};
    head.name = protocol::read_name(record.name());
    head.lease = {record.incarnation(), record.lease()};
    head.suspicion = record.suspicion();
    return head;
  }

  core::DueWalk due(const core::DueSearch& search, const core::Places& but_for,
                    std::vector<core::RecordHead>& out) override {
    const auto& [queue, by, after, until_us, all] = search;
    std::size_t most = all;
    core::DueWalk walk{after, std::numeric_limits<std::int64_t>::max(), 0};
    std::size_t looked_at = 0;
    for (auto at = maps_.due.upper_bound({queue, by, after});
         at != maps_.due.end() && at->first.queue == queue && at->first.by == by; ++at) {
      const auto& [here, due_us] = std::tie(at->first.at, at->second.first);
      if (here.bucket_us > until_us || most == 0 || looked_at == core::looked_at_most) {
        walk.next_us = std::min(walk.next_us, here.bucket_us);
        break;
      }
      ++looked_at;
      const Place place{queue, here.segment, here.index};
      const bool known = but_for.contains(place);
      const bool is_due = known || due_us <= until_us;
      if (!is_due) {
        walk.next_us = std::min(walk.next_us, due_us);
      } else if (auto head = known ? std::nullopt : record_head(place)) {
        out.push_back(std::move(*head));
        --most;
      }
      if (is_due && walk.again == 0) {
        walk.at = here;
      } else {
        ++walk.again;
      }
    }
    return walk;
  }

  void dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) override {
    auto at = after ? maps_.dead.upper_bound(*after) : maps_.dead.lower_bound(Place{queue, 0, 0});
    for (; at != maps_.dead.end() && at->first.queue == queue && most > 0; ++at, --most) out.push_back(at->first);
  }

 private:
  template <class Map, class Key>
  static std::optional<std::string_view> find(const Map& map, const Key& key) {
    const auto at = map.find(key);
    if (at == map.end()) return std::nullopt;
    return at->second;
  }

  const Maps& maps_;
};

}  // namespace

core::Recovered MemoryStore::recover() {
  core::Recovered recovered;
  recovered.store = id_;
  recovered.commits = commits_;
  recovered.incarnation = ++incarnation_;
  recovered.starts = std::move(starts_);
  recovered.started(next_start_ ? *next_start_ : random_id<StartId>());
  next_start_.reset();
  starts_ = recovered.starts;
  std::map<QueueId, std::size_t> at;
  for (const auto& [id, state] : maps_.queues) {
    at[id] = recovered.queues.size();
    auto& queue = recovered.queues.emplace_back();
    queue.id = id;
    queue.state = state;
  }
  for (const auto& [key, head] : maps_.heads) {
    recovered.queues[at.at(key.queue)].segments.push_back({key.lane, key.segment, head});
  }
  for (const auto& [key, due] : maps_.due) {
    recovered.queues[at.at(key.queue)].records += {Messages{1}, Bytes{due.second}};
  }
  for (const auto& [place, bytes] : maps_.dead) recovered.queues[at.at(place.queue)].dead += Messages{1};
  for (const auto& [id, note] : maps_.sessions) recovered.sessions.push_back({id.first, id.second, note});
  for (const auto& [id, mark] : maps_.publishers) recovered.publishers.push_back({id, mark});
  return recovered;
}

void MemoryStore::commit(const core::Batch& batch) {
  Apply apply(maps_);
  for (const core::Write& write : batch.writes) std::visit(apply, write);
  ++commits_;
}

std::unique_ptr<core::Snapshot> MemoryStore::snapshot() { return std::make_unique<MemorySnapshot>(maps_); }

}  // namespace weir::engine::memory
