// Compacting: a segment of which little is left is dropped.
//
// A segment is dropped when its last message is settled. A message that a slow handler holds for long would keep the
// bytes of up to 255 others with it: a window of 4,096 could pin 256 MiB. So the core looks at intervals at what has
// been leased for long. If all that is left of a segment is leased, and is little, it becomes records (which keep their
// places) and the segment is dropped, in one commit. The leases go on as leases of those records.
//
// Ready messages stay where they are: as a record a message would overtake those that were published before it.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

using Lease = std::map<std::uint64_t, LeaseRun>::iterator;
/// The leases of one segment.
struct SegmentLeases {
  std::vector<std::pair<Worker*, Lease>> runs;
  std::uint32_t messages{};
};

/// The most records that are made in one go, which must not hold up the loop.
constexpr std::uint32_t records_most = 1024;
/// The due time of such a record. The message was ready once, and stays ready whatever a later start's clock shows: it
/// is due before any clock, in publish order, one bucket of the store's (64 ms) per segment. 0 would mean: gone.
std::int64_t long_due_us(SegmentNumber segment) {
  constexpr SegmentNumber most = SegmentNumber{1} << 32;  // nine years of buckets, from 1970 on
  return 1 + (static_cast<std::int64_t>(std::min(segment, most)) << 16);
}

std::uint32_t left(const Segment& segment) { return segment.count - segment.settled.count(); }

/// By number of messages: their sizes may have to be read from the store.
bool has_little_left(const State& state, const Segment& segment) {
  const std::uint32_t n = left(segment);
  return !segment.ahead && n < segment.count && std::uint64_t{n} * state.config.compaction.sparse <= segment.count;
}

bool is_worth_it(State& state, const SegmentKey& key, Segment& segment) {
  if (!load(state, key, segment)) return false;
  std::uint64_t live = 0;
  for (std::uint32_t i = segment.settled.next_clear(0); i < segment.count; i = segment.settled.next_clear(i + 1)) {
    live += segment.bytes_of(i, i + 1);
  }
  return live * state.config.compaction.sparse <= segment.bytes &&
         segment.bytes - live >= state.config.compaction.freed_least.value;
}

/// Neighbouring leases of neighbouring messages become one lease each.
void become_records(State& state, Worker& worker, Lease at) {
  const std::uint64_t lease = at->first;
  const LeaseRun run = std::move(at->second);
  worker.leases.erase(at);
  Queue& queue = *state.find_queue(run.key.queue);
  Segment& segment = find_segment(queue, run.key);
  const auto& types = state.type_sets.types(segment.types);
  const bool named = load_names(state, run.key, segment);  // while the segment is there
  const std::int64_t due_us = long_due_us(run.key.segment);
  for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
    const std::uint32_t index = run.first + i;
    const Place place{run.key.queue, run.key.segment, index};
    LeaseRun one;
    one.key = run.key;
    one.first = index;
    one.count = 1;
    one.attempt = run.attempt;
    one.source = Source::record;
    one.open.set(0);
    one.settled_by_worker = run.settled_by_worker;
    if (run.claimed != LeaseId{}) {
      one.claimed = {run.claimed.incarnation, run.claimed.counter + i};
      one.origin = {run.origin.incarnation, run.origin.counter + i};
    }
    one.record = std::make_unique<RecordHead>();
    one.record->place = place;
    one.record->type = types[segment.type(index)];
    one.record->lane = run.key.lane;
    one.record->attempts = run.attempt - 1;
    one.record->due_us = due_us;
    if (named) one.record->name = segment.names.at(index);
    one.record->bytes = Bytes{segment.bytes_of(index, index + 1)};
    one.record->batch = state.batches + 1;
    worker.leases.emplace(lease + i, std::move(one));
    // No outcome was applied: any lease under which it is claimed after a restart is the latest.
    state.gathering.writes.emplace_back(MoveMessage{place, run.key.lane, Source::segment, false, due_us,
                                                    run.attempt - 1, LeaseId{}, std::nullopt, v1::UNSUSPECTED});
    queue.loaded.insert(place);
    queue.records += Messages{1};
    settle_bits(state, queue, run.key, segment, {index, index + 1});
  }
}

}  // namespace

void compaction_tick(State& state, Now now) {
  if (now.instant < state.next_compaction) return;
  state.next_compaction = now.instant + state.config.compaction.after;
  const std::uint64_t before = state.leases_before;
  state.leases_before = state.next_lease;
  // While a restart is not over, sessions that are yet to come back may claim any of it. Records also need room first.
  if (!state.recovered || !state.room) return;
  std::map<SegmentKey, SegmentLeases> all;
  for (auto& [token, process] : state.processes) {
    for (auto& [shard, worker] : process.workers) {
      for (auto at = worker->leases.begin(); at != worker->leases.end() && at->first < before; ++at) {
        const LeaseRun& run = at->second;
        if (run.source != Source::segment) continue;
        const auto& segments = state.find_queue(run.key.queue)->lanes[run.key.lane].segments;
        if (!has_little_left(state, segments.at(run.key.segment))) continue;
        SegmentLeases& held = all[run.key];
        held.runs.emplace_back(worker.get(), at);
        held.messages += run.open.count();
      }
    }
  }
  std::uint32_t records = 0;
  for (auto& [key, held] : all) {
    Queue& queue = *state.find_queue(key.queue);
    Segment& segment = find_segment(queue, key);
    // Some of the segment may be ready, leased lately, or about to return from a session that has ended.
    if (held.messages < left(segment) || !is_worth_it(state, key, segment)) continue;
    if ((records += held.messages) > records_most) return;
    state.changed(queue);
    for (const auto& [worker, at] : held.runs) become_records(state, *worker, at);
  }
}

bool is_on_disk(const State& state, const RecordHead& record) {
  return record.batch < state.batches || (record.batch == state.batches && !state.committing);
}

}  // namespace weir::broker::core
