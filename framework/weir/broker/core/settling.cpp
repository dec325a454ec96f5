// Settling: outcomes of deliveries.
#include <algorithm>
#include <optional>
#include <set>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {

void answer(v1::Settled& settled, std::uint64_t lease, std::uint64_t count, v1::Settled::Answer what,
            const std::string& reason) {
  if (count == 0) return;
  auto* run = settled.add_runs();
  run->set_lease(lease);
  run->set_count(static_cast<std::uint32_t>(count));
  run->set_answer(what);
  run->set_reason(reason);
}

namespace {

/// One run of a settle frame; what of it must wait goes to `deferred`.
///
/// `stale` is answered with the next commit and not before: a settlement that is sent again is stale because it was
/// applied, and its worker may only forget it once that is on disk.
void settle_run(State& state, Now now, Worker& worker, const v1::Settle::Run& wanted, bool may_defer,
                const std::set<std::uint64_t>& excluded, v1::Settled& settled, QueueSet& touched,
                std::vector<v1::Settle::Run>& deferred) {
  const std::uint64_t end = wanted.lease() + wanted.count();
  for (std::uint64_t lease = wanted.lease(); lease < end;) {
    auto at = worker.leases.upper_bound(lease);
    const std::uint64_t next = at == worker.leases.end() ? end : std::min(end, at->first);
    const bool before = at != worker.leases.begin();
    if (before) --at;
    if (!before || lease - at->first >= at->second.count) {
      // Its message may be another session's by now: promise 3.
      answer(settled, lease, next - lease, v1::Settled::STALE);
      lease = next;
      continue;
    }
    LeaseRun& run = at->second;
    const auto first = static_cast<std::uint32_t>(lease - at->first);
    const auto run_end = static_cast<std::uint32_t>(std::min<std::uint64_t>(run.count, end - at->first));
    if (!run.open.test(first)) {
      const std::uint32_t last = std::min(run.open.next_set(first), run_end);
      answer(settled, lease, last - first, v1::Settled::STALE);
      lease += last - first;
      continue;
    }
    std::uint32_t last = std::min(run.open.next_clear(first), run_end);
    if (!excluded.empty()) {
      if (excluded.contains(lease)) {
        ++lease;
        continue;
      }
      const auto stop = excluded.lower_bound(lease);
      if (stop != excluded.end() && *stop < lease + (last - first))
        last = first + static_cast<std::uint32_t>(*stop - lease);
    }
    if (may_defer && run.settled_by_worker && wanted.outcome() != v1::ACK && !state.recovered) {
      v1::Settle::Run& later = deferred.emplace_back(wanted);
      later.set_lease(lease);
      later.set_count(last - first);
      lease += last - first;
      continue;
    }
    Queue* queue = state.find_queue(run.key.queue);
    touched.insert(queue);
    if (!run.settled_by_worker) {
      const Load load{Messages{last - first}, Bytes{bytes_of(state, run, first, last)}};
      worker.let_go(worker.attachment(queue), load);
    }
    lease += last - first;
    apply(state, now, worker, at->first, run, first, last, wanted);
    run.open.clear(first, last);
    if (run.open.next_set(0) >= run.count) worker.leases.erase(at);
  }
}

}  // namespace

std::uint64_t bytes_of(State& state, const LeaseRun& run, std::uint32_t first, std::uint32_t last) {
  if (run.source == Source::record) return run.record->bytes.value;
  Queue* queue = state.find_queue(run.key.queue);
  Segment& segment = queue->lanes[run.key.lane].segments.at(run.key.segment);
  load(state, run.key, segment);
  return segment.bytes_of(run.first + first, run.first + last);
}

RecordHead head_of(State& state, const LeaseRun& run, std::uint32_t offset, std::uint32_t attempts, std::int64_t due_us,
                   LeaseId lease) {
  RecordHead head;
  head.bytes = Bytes{bytes_of(state, run, offset, offset + 1)};  // first: it loads what is read of the segment below
  head.place = {run.key.queue, run.key.segment, run.first + offset};
  if (run.source == Source::record) {
    head.type = run.record->type;
    head.name = run.record->name;
  } else {
    const Segment& segment = state.find_queue(run.key.queue)->lanes[run.key.lane].segments.at(run.key.segment);
    head.type = state.type_sets.types(segment.types)[segment.type_of.empty() ? 0 : segment.type_of[head.place.index]];
  }
  head.lane = run.key.lane;
  head.attempts = attempts;
  head.due_us = due_us;
  head.lease = lease;
  head.batch = state.batches + 1;
  return head;
}

namespace {

/// What it leaves in a history that messages fail with this error in this worker.
const std::shared_ptr<const v1::Attempt>& failed(Worker& worker, const std::string& error) {
  if (worker.failed == nullptr || worker.failed->error() != error) {
    v1::Attempt attempt;
    attempt.set_worker(print_worker(worker));
    attempt.set_error(error);
    bound(attempt);
    worker.failed = std::make_shared<const v1::Attempt>(std::move(attempt));
  }
  return worker.failed;
}

}  // namespace

void apply(State& state, Now now, Worker& worker, std::uint64_t lease, LeaseRun& run, std::uint32_t first,
           std::uint32_t last, const v1::Settle::Run& outcome) {
  Queue& queue = *state.find_queue(run.key.queue);
  const std::uint32_t n = last - first;
  const auto gone = [&](std::uint32_t from, std::uint32_t to) {
    queue.live -= Load{Messages{to - from}, Bytes{bytes_of(state, run, from, to)}};
  };
  state.changed(queue);
  watched_ended(now, queue, run.key, run.first + first, run.first + last);
  // Its handler came to an end, and its process lives. (Of what is released, it may not have started.)
  if (run.record && run.record->suspicion != v1::UNSUSPECTED && outcome.outcome() != v1::RELEASE) {
    ++worker.process->cleared;
  }
  switch (outcome.outcome()) {
    case v1::ACK:
      gone(first, last);
      queue.state.set_acked(queue.state.acked() + n);
      if (run.source == Source::record) {
        const Place place{run.key.queue, run.key.segment, run.first};
        state.gathering.writes.emplace_back(DropRecord{place, run.record->due_us, run.record->due_by});
        state.gathering.moved.push_back({place, 0});
        queue.records -= Messages{1};
      } else {
        settle_bits(state, queue, run.key, run.first + first, run.first + last);
      }
      return;
    case v1::RELEASE:
      if (run.source == Source::record) {
        record_ready(state, queue, run);
      } else {
        make_ready(state, queue, run.key, run.first + first, n);
      }
      return;
    default:
      break;
  }
  const bool counted = outcome.outcome() == v1::RETRY || outcome.outcome() == v1::REJECT;
  const std::uint32_t attempts = counted ? run.attempt : run.attempt - 1;
  const bool dead = outcome.outcome() == v1::REJECT || (counted && attempts >= queue.policy.attempts);
  for (std::uint32_t i = first; i < last; ++i) {
    std::int64_t at = state.clock_us(now.instant);
    if (!dead) {
      const Duration pause = outcome.has_delay_us() ? Duration{static_cast<Duration::rep>(std::min<std::uint64_t>(
                                                          outcome.delay_us(), std::uint64_t{1} << 56))}
                             : counted              ? pause_after(queue.policy.backoff, attempts, state.uniform())
                                                    : Duration{0};
      at += pause.count();
      // The longest of what was asked for holds: a shorter one does not end another's pause.
      if (outcome.outcome() == v1::THROTTLED) {
        queue.paused_until = std::max(queue.paused_until.value_or(Instant::min()), now.instant + pause);
      }
    }
    std::optional<Attempted> attempt;
    if (counted) {
      attempt.emplace(run.attempt, outcome.started_at_us(), outcome.duration_us(), failed(worker, outcome.error()));
    }
    if (dead) {
      gone(i, i + 1);
      queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
      if (outcome.outcome() == v1::REJECT) queue.state.set_rejected(queue.state.rejected() + 1);
    } else if (counted) {
      queue.state.set_retried(queue.state.retried() + 1);
    }
    const LeaseId under{state.incarnation, lease + i};
    auto& moved =
        move_message(state, queue, run.key, run.first + i, run.source, dead, at, attempts, under, std::move(attempt));
    if (!dead && may_wait_in_memory(state, now, queue, at, DueBy::broker))
      moved.head = head_of(state, run, i, attempts, at, under);
  }
}

void on_settle(State& state, Now now, Client& client, std::uint64_t frame, const v1::Settle& settle, const Slice& run,
               Actions& actions) {
  Worker& worker = *client.worker;
  for (const auto& wanted : settle.runs()) {
    if (wanted.lease() == 0 || wanted.outcome() < v1::ACK || wanted.outcome() > v1::THROTTLED || wanted.count() == 0 ||
        wanted.lease() + wanted.count() < wanted.lease() || wanted.lease() + wanted.count() > state.next_lease) {
      return refuse(state, client.connection, v1::Error::MALFORMED,
                    "SETTLE: leases " + std::to_string(wanted.lease()) + " and " + std::to_string(wanted.count()) +
                        " more with outcome " + std::to_string(wanted.outcome()) +
                        ": no such lease was granted, or no such outcome",
                    true, actions);
    }
  }
  if (const auto lease = output_without_ack(settle)) {
    return refuse(state, client.connection, v1::Error::MALFORMED,
                  "SETTLE: an output names lease " + std::to_string(*lease) +
                      " as its source, which this frame does not ack; they leave together",
                  true, actions);
  }
  v1::Settled settled;
  v1::Settled stale;
  std::set<std::uint64_t> excluded;
  if (settle.outputs_size() > 0) excluded = take_outputs(state, now, worker, settle, run, settled);
  QueueSet touched;
  std::vector<v1::Settle::Run> deferred;
  for (const auto& wanted : settle.runs()) {
    settle_run(state, now, worker, wanted, true, excluded, stale, touched, deferred);
  }
  if (deferred.empty()) {
    state.gathering.settled_frames.push_back({client.connection, frame});
  } else {
    for (auto& later : deferred) {
      state.deferred.push_back({worker.token, worker.shard, client.connection, 0, std::move(later)});
    }
    state.deferred.back().frame = frame;  // confirmed with the last of it
  }
  if (settled.runs_size() > 0) {
    v1::Frame reply;
    *reply.mutable_settled() = std::move(settled);
    send(state, client.connection, std::move(reply), actions);
  }
  if (stale.runs_size() > 0) state.gathering.stale.emplace_back(client.connection, std::move(stale));
  tell_elided(state, actions);
  for (const auto& output : settle.outputs()) {
    Queue* queue = state.find_queue(output.queue());
    if (queue == nullptr) continue;
    share_room(state, *queue, actions);
    if (queue->policy.ahead) touched.insert(queue);
  }
  // The window that was freed is the next queue's, not that of the one that freed it.
  if (worker.attached.size() > 1) dispatch_waiting(state, now, worker, actions);
  for (Queue* queue : touched) {
    if (!queue->windows.empty()) share_room(state, *queue, actions);
  }
  dispatch(state, now, touched, actions);
}

void settle_deferred(State& state, Now now) {
  const auto all = std::move(state.deferred);
  state.deferred.clear();
  for (const auto& later : all) {
    Worker* worker = state.find_worker(later.token, later.shard);
    if (worker != nullptr) {
      v1::Settled stale;
      QueueSet touched;
      std::vector<v1::Settle::Run> none;
      settle_run(state, now, *worker, later.run, false, {}, stale, touched, none);
      if (stale.runs_size() > 0) state.gathering.stale.emplace_back(later.connection, std::move(stale));
    }
    if (later.frame != 0) state.gathering.settled_frames.push_back({later.connection, later.frame});
  }
}

}  // namespace weir::broker::core
