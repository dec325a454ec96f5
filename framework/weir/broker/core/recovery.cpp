// Recovery: what a restart finds, and the claims of sessions that come back.
//
// Before a restart, deliveries were made that only their workers know of. Messages that may have been delivered
// (segments up to their lane's mark, records that were due) wait until every noted session has said what it holds, or
// its time is out.
#include <algorithm>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

void recover_segment(State& state, Queue& queue, const Recovered::SegmentEntry& entry) {
  Segment segment;
  segment.count = entry.head.count();
  segment.bytes = entry.head.bytes();
  segment.types = state.type_sets.intern(entry.head.types());
  segment.settled = segment.taken = Bits::from(entry.head.settled());
  queue.live += Load{Messages{segment.count}, Bytes{segment.bytes}};
  if (segment.settled.count() > 0) {
    load(state, {queue.id, entry.lane, entry.number}, segment);
    for (std::uint32_t i = segment.settled.next_set(0); i < segment.count; i = segment.settled.next_set(i + 1)) {
      queue.live -= Load{Messages{1}, Bytes{segment.bytes_of(i, i + 1)}};
    }
  }
  LaneState& lane = queue.use(entry.lane);
  if (entry.number > lane.withheld) lane.ready[segment.types].insert(entry.number);
  queue.next_segment = std::max(queue.next_segment, entry.number + 1);
  lane.segments.emplace_hint(lane.segments.end(), entry.number, std::move(segment));
}

/// The worker that holds a message, and under which lease.
struct Holder {
  Worker* worker{};
  std::map<std::uint64_t, LeaseRun>::iterator run;
  std::uint32_t offset{};
};

std::optional<Holder> find_holder(State& state, const SegmentKey& key, std::uint32_t index) {
  for (auto& [token, process] : state.processes) {
    for (auto& [shard, worker] : process.workers) {
      for (auto at = worker->leases.begin(); at != worker->leases.end(); ++at) {
        LeaseRun& run = at->second;
        if (run.key != key || index < run.first || index >= run.first + run.count) continue;
        if (run.open.test(index - run.first)) return Holder{worker.get(), at, index - run.first};
      }
    }
  }
  return std::nullopt;
}

/// The holder claimed the message under an older lease than another session does now: its handler is to be cancelled.
void revoke(State& state, const Holder& holder, Bytes bytes, Actions& actions) {
  LeaseRun& run = holder.run->second;
  v1::Frame frame;
  auto* lost = frame.mutable_settled()->add_runs();
  lost->set_lease(holder.run->first + holder.offset);
  lost->set_count(1);
  lost->set_answer(v1::Settled::STALE);
  send(state, holder.worker->connection, std::move(frame), actions);
  if (!run.settled_by_worker) {
    holder.worker->let_go(holder.worker->attachment(state.find_queue(run.key.queue)), Load{Messages{1}, bytes});
  }
  run.open.clear(holder.offset);
  if (run.finished()) holder.worker->leases.erase(holder.run);
}

/// The same for a session that has ended since: its leases return with a commit that is not on disk yet.
bool take_back(State& state, const SegmentKey& key, std::uint32_t index, LeaseId origin) {
  for (Pending* pending : {&state.gathering, &state.sealed}) {
    for (Leases& leases : pending->returning) {
      for (auto& [lease, run] : leases) {
        if (run.key != key || index < run.first || index >= run.first + run.count) continue;
        const std::uint32_t offset = index - run.first;
        if (!run.open.test(offset)) continue;
        if (run.claimed == LeaseId{} || LeaseId{run.origin.incarnation, run.origin.counter + offset} > origin) {
          return false;
        }
        run.open.clear(offset);
        return true;
      }
    }
  }
  return false;
}

/// One message of a claim.
struct Wanted {
  Worker& by;
  std::uint32_t index{};
  LeaseId lease;
  LeaseId origin;
};

/// Takes a message from the worker that claimed it before, if it was delivered to that worker earlier. False: it stays.
bool take_over(State& state, const Wanted& wanted, const SegmentKey& key, Bytes bytes, Actions& actions) {
  Worker& worker = wanted.by;
  const LeaseId origin = wanted.origin;
  const auto holder = find_holder(state, key, wanted.index);
  if (!holder) return take_back(state, key, wanted.index, origin);
  LeaseRun& run = holder->run->second;
  if (run.claimed == LeaseId{}) return false;  // granted since the restart: no session that is waited for has it
  if (LeaseId{run.origin.incarnation, run.origin.counter + holder->offset} >= origin) return false;
  if (holder->worker == &worker) {
    // Both are settlements of this worker. The older one was heard, or it would not have been sent the message again.
    // The lease of the older one ends here, so that it is answered `stale`.
    if (!run.settled_by_worker) {
      worker.let_go(worker.attachment(state.find_queue(run.key.queue)), Load{Messages{1}, bytes});
    }
    run.open.clear(holder->offset);
    if (run.finished()) worker.leases.erase(holder->run);
    return true;
  }
  revoke(state, *holder, bytes, actions);
  return true;
}

/// The message that a claim names.
struct Claimed {
  SegmentKey key;
  Source source{};
  std::uint32_t attempt = 1;
  std::unique_ptr<RecordHead> record;
};

/// The message is, or was, in the queue's segment of that number; nothing if the claim is stale.
std::optional<Claimed> claimed_message(State& state, Queue& queue, SegmentNumber number, const Wanted& wanted,
                                       Snapshot& snapshot, Actions& actions) {
  const std::uint32_t index = wanted.index;
  for (Lane lane = 0; lane < lanes_most; ++lane) {
    const auto at = queue.lanes[lane].segments.find(number);
    if (at == queue.lanes[lane].segments.end()) continue;
    Segment& segment = at->second;
    if (index >= segment.count || segment.settled.test(index)) break;  // settled, or a record now
    const SegmentKey key{queue.id, lane, number};
    if (segment.taken.test(index)) {
      load(state, key, segment);
      if (!take_over(state, wanted, key, Bytes{segment.bytes_of(index, index + 1)}, actions)) {
        return std::nullopt;
      }
    }
    segment.taken.set(index);
    return Claimed{key, Source::segment, 1, nullptr};
  }
  const Place place{queue.id, number, index};
  auto head = snapshot.record_head(place);
  // A record keeps the lease of the last outcome applied to it: that outcome, or an older one, was heard already.
  // RULE: retry_sent_twice_counts_once
  if (!head || head->lease >= wanted.lease) return std::nullopt;
  if (!queue.loaded.insert(place).second &&
      !take_over(state, wanted, {queue.id, head->lane, place.segment}, head->bytes, actions)) {
    return std::nullopt;
  }
  Claimed claimed{{queue.id, head->lane, place.segment}, Source::record, head->attempts + 1, nullptr};
  claimed.record = std::make_unique<RecordHead>(std::move(*head));
  return claimed;
}

/// Restores a queue that the store has.
void recover_queue(State& state, Recovered::Queue& found) {
  auto queue = std::make_unique<Queue>();
  queue->id = found.id;
  queue->name = found.state.name();
  queue->state = std::move(found.state);
  queue->found_up_to = queue->state.segments_reserved();
  // RULE: segments_start_above_the_reserved
  queue->next_segment = queue->found_up_to + 1;
  queue->records = found.records.messages;
  queue->live = found.records;
  queue->dead = found.dead;
  queue->damaged = found.damaged;
  for (int lane = 0; lane < queue->state.delivery_marks_size() && lane < lanes_most; ++lane) {
    const SegmentNumber mark = queue->state.delivery_marks(lane);
    LaneState& the_lane = queue->lanes[static_cast<std::size_t>(lane)];
    the_lane.mark_committed = the_lane.mark_asked = mark;
    // RULE: withheld_until_all_sessions_are_back
    if (!state.recovered) the_lane.withheld = mark;
  }
  // A session may hold records that were due at the start; no session holds those that fall due from now on.
  if (!state.recovered) {
    for (DueRange& range : queue->due_ranges) range.cursor = {due_bucket(state.started_us), 0, 0};
  }
  state.queues_by_name[queue->name] = queue.get();
  Queue& its = *(state.queues[found.id] = std::move(queue));
  for (const auto& entry : found.segments) recover_segment(state, its, entry);
}

/// Adds a queue of the deployment file; `highest` is the highest id so far.
void configure_queue(State& state, const QueueConfig& config, QueueId& highest) {
  auto& by_name = state.queues_by_name[config.name];
  if (by_name == nullptr) {
    auto queue = std::make_unique<Queue>();
    queue->id = ++highest;
    queue->name = config.name;
    queue->state.set_name(config.name);
    by_name = queue.get();
    state.changed(*queue);
    state.queues[queue->id] = std::move(queue);
  }
  by_name->policy = config.policy;
  state.runs_ahead = state.runs_ahead || config.policy.ahead;
  by_name->in_file = true;
}

/// Restores a session that was noted: its worker may come back.
void recover_session(State& state, Now now, const Recovered::Session& found) {
  Process& process = state.processes[found.token];
  process.since = process.last_seen = now.instant;
  process.of_two_stores = process.of_two_stores || found.note.of_two_stores();
  auto worker = std::make_unique<Worker>();
  worker->process = &process;
  worker->token = found.token;
  worker->shard = found.shard;
  worker->group = found.note.group();
  worker->host = found.note.host();
  worker->pid = found.note.pid();
  worker->noted = true;
  worker->recovering = true;
  worker->last_sent = now.instant;
  number_worker(state, *worker);
  process.workers[found.shard] = std::move(worker);
}

void recover_publisher(State& state, Now now, Recovered::Publisher& found) {
  Publisher& publisher = state.publishers[found.id];
  publisher.id = found.id;
  publisher.taken = publisher.committed = found.mark.mark();
  publisher.mark = std::move(found.mark);
  publisher.stored = true;
  publisher.ended_at = now.instant;
}

}  // namespace

void recover(State& state, Now now, Recovered recovered) {
  state.store_id = recovered.store;
  state.commits = recovered.commits;
  state.starts = std::move(recovered.starts);
  state.incarnation = recovered.incarnation;
  state.last_turn = now.instant;
  state.last_wall_us = micros(now.wall);
  state.started_us = micros(now.wall);
  state.started = now.instant;
  state.next_beat = now.instant;
  state.next_housekeeping = now.instant;
  state.next_compaction = now.instant + state.config.compaction.after;
  state.window_epochs = std::uint64_t{recovered.incarnation} << 32;
  state.recovering = recovered.sessions.size();
  state.recovered = recovered.sessions.empty();

  QueueId highest = recovered.highest_queue;
  for (auto& found : recovered.queues) {
    highest = std::max(highest, found.id);
    recover_queue(state, found);
  }
  for (const auto& config : state.config.queues) configure_queue(state, config, highest);
  for (const auto& found : recovered.sessions) recover_session(state, now, found);
  for (auto& found : recovered.publishers) recover_publisher(state, now, found);
}

void claim(Turn& turn, Worker& worker, const v1::Claim& claim, bool settled, v1::Welcome& welcome) {
  Queue* queue = turn.state.find_queue(claim.queue());
  const auto snapshot = turn.state.store.snapshot();
  LeaseRun* open = nullptr;
  v1::ClaimAnswer* last = nullptr;
  const std::uint32_t count = std::min(claim.count(), protocol::segment_messages_most);
  for (std::uint32_t i = 0; i < count; ++i) {
    const LeaseId lease{claim.incarnation(), claim.lease() + i};
    const LeaseId origin =
        claim.origin_incarnation() == 0 ? lease : LeaseId{claim.origin_incarnation(), claim.origin_lease() + i};
    std::optional<Claimed> claimed;
    // Only a session that the store noted may claim, and only what an earlier incarnation granted.
    // RULE: only_noted_sessions_claim
    if (queue != nullptr && worker.recovering && claim.incarnation() < turn.state.incarnation) {
      const Wanted wanted{worker, claim.first() + i, lease, origin};
      claimed = claimed_message(turn.state, *queue, claim.segment(), wanted, *snapshot, turn.actions);
    }
    const bool joins = last != nullptr && last->stale() == !claimed &&
                       (!claimed || (claimed->source == Source::segment && open->source == Source::segment &&
                                     open->first + open->count == claim.first() + i));
    if (!joins) {
      last = welcome.add_claims();
      last->set_queue(claim.queue());
      last->set_segment(claim.segment());
      last->set_first(claim.first() + i);
      last->set_stale(!claimed);
      if (claimed) {
        last->set_lease(turn.state.next_lease);
        open = &worker.leases[turn.state.next_lease];
        open->key = claimed->key;
        open->first = claim.first() + i;
        open->attempt = claimed->attempt;
        open->source = claimed->source;
        if (claimed->record) on_trial(turn.now, worker, turn.state.next_lease, *claimed->record);
        open->record = std::move(claimed->record);
        open->claimed = lease;
        open->origin = origin;
        open->settled_by_worker = settled;
      }
    }
    last->set_count(last->count() + 1);
    if (claimed) {
      open->open.set(open->count);
      ++open->count;
      ++turn.state.next_lease;
    }
  }
}

void one_recovered(Turn& turn, Worker& worker) {
  worker.recovering = false;
  --turn.state.recovering;
  recovery_tick(turn);
}

void recovery_tick(Turn& turn) {
  if (turn.state.recovered || turn.state.recovering > 0) return;
  turn.state.recovered = true;
  note(turn.actions, Note::Level::info, "sessions_recovered",
       {{"outcomes_waiting", std::to_string(turn.state.deferred.size())}});
  for (const auto& [id, queue] : turn.state.queues) {
    for (auto& lane : queue->lanes) {
      for (auto at = lane.segments.begin(); at != lane.segments.end() && at->first <= lane.withheld; ++at) {
        if (at->second.has_ready()) lane.ready[at->second.types].insert(at->first);
      }
      lane.withheld = 0;
    }
    turn.state.wake(*queue);
    for (DueRange& range : queue->due_ranges) {
      range.cursor = {};
      range.walk_next_us = range.next_us = 0;
    }
    turn.state.due_next_us = {};
  }
  settle_deferred(turn.state, turn.now);
  dispatch_all(turn);
}

}  // namespace weir::broker::core
