// Applying: what an outcome does to its messages.
#include <algorithm>
#include <optional>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {

std::uint64_t bytes_of(State& state, const LeaseRun& run, std::uint32_t first, std::uint32_t last) {
  if (run.source == Source::record) return run.record->bytes.value;
  if (run.bytes != 0 && first == 0 && last == run.count) return run.bytes;
  Segment& segment = segment_of(*state.find_queue(run.key.queue), run);
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
    const Segment& segment = segment_of(*state.find_queue(run.key.queue), run);
    head.type = state.type_sets.types(segment.types)[segment.type(head.place.index)];
  }
  head.lane = run.key.lane;
  head.attempts = attempts;
  head.due_us = due_us;
  head.lease = lease;
  head.batch = state.batches + 1;
  return head;
}

namespace {

/// The history entry of messages that fail with this error in this worker.
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

/// These messages are gone, or dead.
void end(State& state, Queue& queue, const LeaseRun& run, std::uint32_t first, std::uint32_t last) {
  queue.live -= Load{Messages{last - first}, Bytes{bytes_of(state, run, first, last)}};
}

void ack(State& state, Queue& queue, const OpenPart& part) {
  const LeaseRun& run = part.run;
  end(state, queue, run, part.first, part.last);
  queue.state.set_acked(queue.state.acked() + part.last - part.first);
  if (run.source == Source::record) {
    const Place place{run.key.queue, run.key.segment, run.first};
    state.gathering.writes.emplace_back(DropRecord{place, run.record->due_us, run.record->due_by});
    state.gathering.moved.push_back({place, 0});
    queue.records -= Messages{1};
  } else {
    settle_bits(state, queue, run.key, segment_of(queue, run), {run.first + part.first, run.first + part.last});
  }
}

void release(State& state, Queue& queue, const OpenPart& part) {
  LeaseRun& run = part.run;
  if (run.source == Source::record) {
    record_ready(state, queue, run);
  } else {
    make_ready(state, queue, run.key, run.first + part.first, part.last - part.first);
  }
}

/// How long a message waits before it is ready again.
Duration pause_of(State& state, const Queue& queue, const v1::Settle::Run& outcome, std::uint32_t attempts) {
  if (!outcome.has_delay_us()) return pause_after(queue.policy.backoff, attempts, state.uniform());
  return Duration{static_cast<Duration::rep>(std::min<std::uint64_t>(outcome.delay_us(), std::uint64_t{1} << 56))};
}

/// Retried, rejected, deferred and throttled messages become records, or dead letters.
void put_off(State& state, Now now, Worker& worker, const OpenPart& part, const v1::Settle::Run& outcome) {
  const LeaseRun& run = part.run;
  Queue& queue = *state.find_queue(run.key.queue);
  // RULE: reject_is_a_dead_letter
  const bool counted = outcome.outcome() == v1::RETRY || outcome.outcome() == v1::REJECT;
  const std::uint32_t attempts = counted ? run.attempt : run.attempt - 1;
  const bool dead = outcome.outcome() == v1::REJECT || (counted && attempts >= queue.policy.attempts);
  for (std::uint32_t i = part.first; i < part.last; ++i) {
    std::int64_t at = state.clock_us(now.instant);
    if (!dead) {
      // RULE: deferral_has_the_first_backoff
      const Duration pause = pause_of(state, queue, outcome, counted ? attempts : 1);
      at += pause.count();
      // The longest pause that was asked for holds: a shorter one does not end it.
      if (outcome.outcome() == v1::THROTTLED) {
        // RULE: throttled_queue_pauses
        queue.paused_until = std::max(queue.paused_until.value_or(Instant::min()), now.instant + pause);
      }
    }
    std::optional<Attempted> attempt;
    if (counted) {
      attempt.emplace(run.attempt, outcome.started_at_us(), outcome.duration_us(), failed(worker, outcome.error()));
    }
    if (dead) {
      end(state, queue, run, i, i + 1);
      queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
      if (outcome.outcome() == v1::REJECT) queue.state.set_rejected(queue.state.rejected() + 1);
    } else if (counted) {
      queue.state.set_retried(queue.state.retried() + 1);
    }
    const LeaseId under{state.incarnation, part.lease + i};
    auto& moved = move_message(state, queue,
                               {.place = {run.key.queue, run.key.segment, run.first + i},
                                .lane = run.key.lane,
                                .source = run.source,
                                .dead = dead,
                                .at_us = at,
                                .attempts = attempts,
                                .lease = under,
                                .attempt = std::move(attempt)});
    if (!dead && may_wait_in_memory(state, now, queue, at, DueBy::broker))
      moved.head = head_of(state, run, i, attempts, at, under);
  }
}

}  // namespace

void apply(State& state, Now now, Worker& worker, const OpenPart& part, const v1::Settle::Run& outcome) {
  const LeaseRun& run = part.run;
  Queue& queue = *state.find_queue(run.key.queue);
  state.changed(queue);
  watched_ended(now, queue, run.key, run.first + part.first, run.first + part.last);
  // The handler came to an end, and its process lives. (A message that is released may not have started.)
  if (run.record && run.record->suspicion != v1::UNSUSPECTED && outcome.outcome() != v1::RELEASE) {
    ++worker.process->cleared;
  }
  switch (outcome.outcome()) {
    case v1::ACK:
      return ack(state, queue, part);
    case v1::RELEASE:
      return release(state, queue, part);
    default:
      return put_off(state, now, worker, part, outcome);
  }
}

}  // namespace weir::broker::core
