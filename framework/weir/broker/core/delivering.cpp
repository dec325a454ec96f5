// Delivering: ready messages go to workers with credit, in publish order within a lane.
#include <algorithm>

#include "weir/broker/core/state.hpp"
#include "weir/message/assert.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

/// A lane's delivery mark is committed so many segments ahead, so that a delivery writes nothing.
constexpr SegmentNumber mark_step = 1024;
/// The most segments that are passed over in one go because the session knows their types not at all, or in part.
constexpr int passed_over_most = 256;
/// The most queues that are looked at in vain for one settlement, because the worker holds their share already.
constexpr int asked_in_vain_most = 128;
/// The estimated cost of handing over a piece, in nanoseconds. It includes the shell's part, which copies the bytes.
constexpr std::int64_t piece_ns = 800;
constexpr std::int64_t byte_ns_divisor = 4;

/// True if `segment` is not above the lane's committed mark; asks for a higher mark in time.
bool may_deliver(State& state, Queue& queue, Lane lane, SegmentNumber segment) {
  LaneState& the_lane = queue.lanes[lane];
  if (segment + mark_step / 2 > the_lane.mark_asked) {
    const SegmentNumber mark = segment + mark_step;
    the_lane.mark_asked = mark;
    while (queue.state.delivery_marks_size() <= lane) queue.state.add_delivery_marks(0);
    queue.state.set_delivery_marks(lane, mark);
    // No segment number up to a mark is given after a restart, so that segments that are new then need not wait.
    if (mark > queue.state.segments_reserved()) queue.state.set_segments_reserved(mark);
    state.changed(queue);
    state.gathering.marks.push_back({queue.id, lane, mark});
  }
  return segment <= the_lane.mark_committed;
}

void flush(State& state, Worker& worker, Actions& actions) {
  if (worker.outbox.empty()) return;
  Client* client = state.find_client(worker.connection);
  actions.emplace_back(SendDelivery{worker.connection, ++client->frames_out, state.commits, std::move(worker.outbox)});
  if (state.config.unread_most) {
    worker.unread += Bytes{worker.outbox_bytes};
    state.unread += Bytes{worker.outbox_bytes};
  }
  worker.outbox.clear();
  worker.outbox_bytes = 0;
}

void hand(Turn& turn, Worker& worker, Attached& attached, LeaseRun run, std::uint64_t bytes,
          std::shared_ptr<const Contents> ahead) {
  const Load load{Messages{run.count}, Bytes{bytes}};
  turn.state.effort.spend(piece_ns + static_cast<std::int64_t>(bytes) / byte_ns_divisor);
  worker.take(attached, load, Messages{share_of(worker)});
  // The window holds (promise 2); one message of any size is let through alone.
  // RULE: window_holds
  WEIR_ASSERT(worker.outstanding.messages.value == 1 || (worker.outstanding.messages <= worker.window.messages &&
                                                         worker.outstanding.bytes <= worker.window.bytes),
              worker.outstanding.messages.value, worker.outstanding.bytes.value, worker.window.messages.value,
              worker.window.bytes.value);
  WEIR_ASSERT(worker.borrowed <= worker.outstanding.messages, worker.borrowed.value);
  worker.last_sent = turn.now.instant;
  worker.process->was_sent = true;
  worker.process->empty_since.reset();
  if (turn.state.next_recall == Instant::max()) look_for_recalls(turn.state, turn.now);
  worker.queue_turn = run.key.queue;
  if (worker.outbox_bytes + bytes > protocol::segment_bytes_most) flush(turn.state, worker, turn.actions);
  if (worker.outbox.empty()) turn.state.outboxes.push_back(&worker);
  worker.outbox.push_back(
      {run.key, run.first, run.count, turn.state.next_lease, run.attempt, run.source, std::move(ahead)});
  worker.outbox_bytes += bytes;
  run.open.set(0, run.count);
  const std::uint64_t lease = turn.state.next_lease;
  turn.state.next_lease += run.count;
  // No lease id twice (promise 3): a worker's leases rise and do not overlap.
  // RULE: no_lease_id_twice
  WEIR_ASSERT(worker.leases.empty() || worker.leases.rbegin()->first + worker.leases.rbegin()->second.count <= lease,
              lease);
  worker.leases.emplace_hint(worker.leases.end(), lease, std::move(run));
}

/// Hands over one record that is due; false if there is none for this worker.
bool hand_record(Turn& turn, Queue& queue, Worker& worker, Attached& attached) {
  for (auto at = queue.ready_records.begin(); at != queue.ready_records.end(); ++at) {
    if (!knows(attached, at->type)) continue;
    if (!protocol::admits(worker.window, worker.outstanding, at->bytes)) return false;
    RecordHead head = std::move(*at);
    // RULE: one_live_lease_of_a_record
    queue.ready_records.erase(at);
    hand(turn, worker, attached, std::move(head));
    return true;
  }
  return false;
}

enum class Handed : std::uint8_t { some, none_that_it_knows, none_now };

/// Neighbouring messages of a segment: [first, last).
struct Part {
  std::uint32_t first{};
  std::uint32_t last{};
  std::uint64_t bytes{};
};

/// Hands over these messages of the segment, which are ready.
Handed hand_part(Turn& turn, Worker& worker, Attached& attached, const SegmentKey& key, Segment& segment, Part part) {
  // A restart must know what a session may hold: nothing goes out beyond its lane's committed mark.
  // RULE: nothing_beyond_the_delivery_mark
  // RULE: session_is_noted_before_its_first_delivery
  WEIR_ASSERT(worker.noted && key.segment <= attached.queue->lanes[key.lane].mark_committed, key.queue, key.segment);
  // One live lease per message (promise 3): a message that is handed over is not taken yet.
  // RULE: one_live_lease_when_handed_over
  WEIR_ASSERT(segment.taken.next_set(part.first) >= part.last, key.queue, key.segment, part.first, part.last);
  segment.taken.set(part.first, part.last);
  watch(turn.now, *attached.queue, key, part.first);
  LeaseRun run;
  run.key = key;
  run.first = part.first;
  run.count = part.last - part.first;
  run.attempt = 1;
  run.source = Source::segment;
  run.bytes = part.bytes;
  run.segment = &segment;
  hand(turn, worker, attached, std::move(run), part.bytes, segment.ahead);
  return Handed::some;
}

/// True if all of the segment is ready and fits into the window.
bool fits_whole(const Worker& worker, const Segment& segment, std::uint64_t messages_most) {
  return segment.count <= messages_most && segment.taken.next_set(0) >= segment.count &&
         worker.outstanding.messages.value + segment.count <= worker.window.messages.value &&
         worker.outstanding.bytes <= worker.window.bytes &&
         segment.bytes <= (worker.window.bytes - worker.outstanding.bytes).value;
}

/// Hands over neighbouring ready messages of one segment, as many as the window admits.
Handed hand_slice(Turn& turn, Worker& worker, Attached& attached, const SegmentKey& key, Segment& segment,
                  std::uint64_t messages_most) {
  if (segment.ahead && !turn.state.room) return Handed::none_now;  // it appeared while there was room
  const bool all = match(turn.state, attached, segment.types) == Attached::Match::all;
  if (all && !segment.damaged && fits_whole(worker, segment, messages_most)) {  // the size of each does not matter
    return hand_part(turn, worker, attached, key, segment, {0, segment.count, segment.bytes});
  }
  if (!load(turn.state, key, segment)) return Handed::none_that_it_knows;
  const auto fits_type = [&](std::uint32_t i) {
    if (all) return true;
    return knows(attached, turn.state.type_sets.types(segment.types)[segment.type(i)]);
  };
  std::uint32_t first = segment.taken.next_clear(0);
  while (first < segment.count && !fits_type(first)) first = segment.taken.next_clear(first + 1);
  if (first >= segment.count) return Handed::none_that_it_knows;
  Load outstanding = worker.outstanding;
  std::uint32_t last = first;
  while (last < segment.count && !segment.taken.test(last) && last - first < messages_most && fits_type(last)) {
    const Bytes size{segment.bytes_of(last, last + 1)};
    if (!protocol::admits(worker.window, outstanding, size)) break;
    outstanding += Load{Messages{1}, size};
    ++last;
  }
  if (last == first) return Handed::none_now;
  return hand_part(turn, worker, attached, key, segment, {first, last, segment.bytes_of(first, last)});
}

bool hand_from_lane(Turn& turn, Queue& queue, Lane lane, Worker& worker, Attached& attached,
                    std::uint64_t messages_most) {
  LaneState& the_lane = queue.lanes[lane];
  SegmentNumber after = 0;
  for (int passed = 0; passed < passed_over_most; ++passed) {
    // The oldest segment above `after` of any type set that this worker knows at least in part.
    std::set<SegmentNumber>* of = nullptr;
    SegmentNumber oldest = ~SegmentNumber{0};
    for (auto& [types, ready] : the_lane.ready) {
      if (ready.empty() || match(turn.state, attached, types) == Attached::Match::none) continue;
      const auto at = ready.upper_bound(after);
      if (at != ready.end() && *at < oldest) {
        oldest = *at;
        of = &ready;
      }
    }
    if (of == nullptr) return false;
    if (!may_deliver(turn.state, queue, lane, oldest)) return false;
    Segment& segment = the_lane.segments.at(oldest);
    const Handed handed = hand_slice(turn, worker, attached, {queue.id, lane, oldest}, segment, messages_most);
    if (!segment.has_ready()) of->erase(oldest);
    if (handed == Handed::some) return true;
    if (handed == Handed::none_now)
      return false;  // nothing overtakes a message that is too large for what is left of the window
    after = oldest;
  }
  return false;
}

bool hand_from_lanes(Turn& turn, Queue& queue, Worker& worker, Attached& attached, std::uint64_t messages_most) {
  for (std::uint16_t lanes = queue.used_lanes; lanes != 0;) {
    if (hand_from_lane(turn, queue, take_highest(lanes), worker, attached, messages_most)) return true;
  }
  return false;
}

/// False if the queue has nothing to hand over: then no worker need be asked.
bool has_some(const State& state, Now now, const Queue& queue) {
  return has_ready(state, queue) || has_due(state, now, queue);
}

/// How much less than that level the worker holds (bursts.cpp).
std::uint64_t below(std::uint64_t level, const Worker& worker) {
  const std::uint64_t held = worker.outstanding.messages.value;
  return level > held ? level - held : 0;
}

bool hand_to(Turn& turn, Queue& queue, Worker& worker, std::optional<std::uint64_t>& level) {
  if (!turn.state.plugins.empty() && stands_by(turn.state, worker)) return false;
  Attached& attached = *worker.attachment(&queue);
  if (worker.process->alone && !takes_others(turn.state, turn.now, *worker.process)) {
    if (!queue.suspects.empty() && hand_suspect(turn, queue, worker, attached)) return true;
    if (worker.process->alone) return false;
  }
  const std::uint64_t messages_most = credit(turn.state, turn.now, worker, attached);
  if (messages_most == 0) return false;
  if (queue.records.value > 0) {
    load_due(turn.state, turn.now, queue);
    if (!queue.suspects.empty()) {
      if (hand_suspect(turn, queue, worker, attached)) return true;
      if (worker.process->alone) return false;  // the process was kept for a suspect just now
    }
    if (hand_record(turn, queue, worker, attached)) return true;
  }
  if (!level) level = level_of(turn.state, queue);
  const std::uint64_t most = std::min(messages_most, below(*level, worker));
  if (most == 0) return false;
  if (hand_from_lanes(turn, queue, worker, attached, most)) return true;
  if (!run_ahead(turn.state, queue)) return false;
  level = level_of(turn.state, queue);  // segments that have appeared count
  return hand_from_lanes(turn, queue, worker, attached, std::min(messages_most, below(*level, worker)));
}

/// Hands over one piece to one worker; false if it can take none.
bool hand_one(Turn& turn, Queue& queue, Worker& worker, std::optional<std::uint64_t>& level) {
  if (worker.connection == 0 || !worker.noted) return false;
  if (!reads(turn.state, worker)) return false;
  if (hand_to(turn, queue, worker, level)) return true;
  worker.turned_away = true;
  return false;
}

}  // namespace

bool knows(const Attached& attached, const std::string& type) {
  return attached.types.empty() || attached.types.contains(type);
}

void hand(Turn& turn, Worker& worker, Attached& attached, RecordHead head) {
  LeaseRun run;
  run.key = {head.place.queue, head.lane, head.place.segment};
  run.first = head.place.index;
  run.count = 1;
  run.attempt = head.attempts + 1;
  run.source = Source::record;
  on_trial(turn.now, worker, turn.state.next_lease, head);
  const std::uint64_t bytes = head.bytes.value;
  run.record = std::make_unique<RecordHead>(std::move(head));
  hand(turn, worker, attached, std::move(run), bytes, nullptr);
}

Attached::Match match(State& state, Attached& attached, TypeSet types) {
  if (attached.types.empty()) return Attached::Match::all;
  if (attached.matches.size() <= types) attached.matches.resize(types + 1, Attached::Match::unknown_yet);
  auto& known = attached.matches[types];
  if (known == Attached::Match::unknown_yet) {
    const auto& names = state.type_sets.types(types);
    const auto fitting =
        std::count_if(names.begin(), names.end(), [&](const auto& name) { return attached.types.contains(name); });
    known = fitting == 0                                           ? Attached::Match::none
            : fitting == static_cast<std::ptrdiff_t>(names.size()) ? Attached::Match::all
                                                                   : Attached::Match::some;
  }
  return known;
}

namespace {

/// Hands over what the queue has, into outboxes.
void serve(Turn& turn, Queue& queue) {
  if (queue.paused_until && turn.now.instant >= *queue.paused_until) queue.paused_until.reset();
  const std::size_t n = queue.attached.size();
  if (n > 0 && !queue.paused_until) {
    // In turns, one piece each, until no worker can take more: up to a level, then up to the level of the workers that
    // still have room, then without a level.
    std::optional<std::uint64_t> level;
    bool again = true;
    for (std::size_t refusals = 0; refusals < n && has_some(turn.state, turn.now, queue);) {
      if (turn.state.effort.spent()) {
        turn.state.unserved.emplace(queue.id, &queue);
        break;
      }
      Worker& worker = *queue.attached[queue.turn++ % n];
      refusals = hand_one(turn, queue, worker, level) ? 0 : refusals + 1;
      if (refusals == n && level && *level != no_level) {
        level = std::exchange(again, false) ? level_of(turn.state, queue) : no_level;
        refusals = 0;
      }
    }
  }
  if (has_some(turn.state, turn.now, queue)) {
    turn.state.wake(queue);
  } else {
    turn.state.waiting.erase(queue.id);
  }
}

void flush(State& state, Actions& actions) {
  for (Worker* worker : state.outboxes) flush(state, *worker, actions);
  state.outboxes.clear();
}

/// Serves the queues from the one after the last served on, until the window is full: each has its turn.
void serve_waiting(Turn& turn, Worker& worker) {
  if (turn.state.waiting.size() > 2 * worker.waiting_counted) count_sharers(turn.state, worker);
  QueueId last = worker.queue_turn;  // the round ends with this queue
  QueueId at = last;
  bool below = false;  // the round goes on from the lowest id
  for (int in_vain = 0;;) {
    if (worker.outstanding.messages >= worker.window.messages || !reads(turn.state, worker))
      break;  // the other queues are not asked
    if (in_vain == asked_in_vain_most) {
      worker.queue_turn = at;  // the next settlement goes on there
      break;
    }
    Queue* const queue = next_waiting(turn.state, worker, at);
    if (queue != nullptr && !(below && queue->id > last)) {
      at = queue->id;
      const Attached& attached = *worker.attachment(queue);
      if (attached.outstanding.value < share_of(worker) || credit(turn.state, turn.now, worker, attached) > 0) {
        serve(turn, *queue);
        in_vain = 0;
      } else {
        worker.turned_away = true;
        ++in_vain;
      }
      continue;
    }
    if (below) return;
    below = true;
    at = 0;
    const unsigned before = worker.sharers;
    count_sharers(turn.state, worker);                // once per round
    if (before > worker.sharers) last = ~QueueId{0};  // queues that were asked had a smaller share
  }
  worker.turned_away = true;
}

}  // namespace

void dispatch(Turn& turn, Queue& queue) {
  serve(turn, queue);
  flush(turn.state, turn.actions);
}

void dispatch(Turn& turn, const QueueSet& queues) {
  for (Queue* queue : queues) serve(turn, *queue);
  flush(turn.state, turn.actions);
}

void dispatch_for(Turn& turn, Worker& worker) {
  count_sharers(turn.state, worker);
  for (auto& attached : worker.attached) serve(turn, *attached.queue);
  // Queues that waited for little have it now; the others share what is left.
  if (worker.attached.size() > 1 && std::exchange(worker.turned_away, false)) serve_waiting(turn, worker);
  flush(turn.state, turn.actions);
}

void dispatch_waiting(Turn& turn, Worker& worker) {
  if (!std::exchange(worker.turned_away, false)) return;
  serve_waiting(turn, worker);
  flush(turn.state, turn.actions);
}

void dispatch_all(Turn& turn) {
  for (const auto& [id, queue] : turn.state.queues) serve(turn, *queue);
  flush(turn.state, turn.actions);
}

void make_ready(State& state, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t count) {
  state.wake(queue);
  LaneState& lane = queue.lanes[key.lane];
  const auto at = lane.segments.find(key.segment);
  if (at == lane.segments.end()) return;
  // A message that comes back was taken, and has not ended (promise 3).
  // RULE: ended_messages_do_not_return
  // RULE: one_live_lease_when_returned
  WEIR_ASSERT(
      at->second.taken.next_clear(first) >= first + count && at->second.settled.next_set(first) >= first + count,
      key.queue, key.segment, first, count);
  if (at->second.damaged) return set_aside(queue, at->second, first, first + count);
  at->second.taken.clear(first, first + count);
  if (key.segment > lane.withheld) lane.ready[at->second.types].insert(key.segment);
}

void record_ready(State& state, Queue& queue, LeaseRun& run) {
  if (!state.recovered && run.claimed != LeaseId{}) {
    // A session that is not back yet may hold it under a later lease: it waits with all that was due at the start.
    queue.loaded.erase(run.record->place);
    run.record.reset();
    return;
  }
  if (!is_on_disk(state, *run.record)) {  // compacted just now: it cannot be read yet
    state.gathering.moved.push_back({run.record->place, run.record->due_us, run.record->due_by});
    return;
  }
  state.wake(queue);
  queue.ready(std::move(*run.record), true);
}

void give_back(State& state, Queue& queue, LeaseRun& run) {
  if (run.source == Source::record) {
    if (run.record && run.open.test(0)) record_ready(state, queue, run);
    return;
  }
  watched_returns(queue, run.key);
  for (std::uint32_t first = run.open.next_set(0); first < run.count;) {
    const std::uint32_t last = std::min(run.open.next_clear(first), run.count);
    make_ready(state, queue, run.key, run.first + first, last - first);
    first = run.open.next_set(last);
  }
}

}  // namespace weir::broker::core
