// Committing: what is written, and what is sent and done once it is on disk.
#include <algorithm>
#include <iterator>
#include <tuple>

#include "weir/broker/core/state.hpp"
#include "weir/message/assert.hpp"

namespace weir::broker::core {
namespace {

PutSegment put(const SegmentKey& key, OpenSegment& open) {
  PutSegment write;
  write.key = key;
  write.contents = open.contents;
  for (const Slice& piece : open.contents->run) write.bytes += piece.bytes.size();
  if (open.settled.next_set(0) < Bits::size) {
    write.settled = open.settled.bytes(static_cast<std::uint32_t>(open.contents->index.lengths_size()));
  }
  return write;
}

void confirm_settled(State& state, std::vector<Pending::Settled>& frames, Actions& actions) {
  std::sort(frames.begin(), frames.end(), [](const auto& a, const auto& b) {
    return std::pair(a.connection, a.frame) < std::pair(b.connection, b.frame);
  });
  for (auto at = frames.begin(); at != frames.end();) {
    const Connection connection = at->connection;
    v1::Frame frame;
    auto& ranges = *frame.mutable_settled()->mutable_frames();
    for (; at != frames.end() && at->connection == connection; ++at) {
      auto* last = ranges.empty() ? nullptr : &ranges[ranges.size() - 1];
      if (last != nullptr && last->last() + 1 == at->frame) {
        last->set_last(at->frame);
        continue;
      }
      auto* range = ranges.Add();
      range->set_first(at->frame);
      range->set_last(at->frame);
    }
    send(state, connection, std::move(frame), actions);
  }
}

/// Makes ready again what ended sessions held.
class Returning final : public Work {
 public:
  explicit Returning(std::vector<Leases> sessions) : sessions_(std::move(sessions)) {}

  /// Gives back until the effort is spent. True: all is given back.
  bool give(State& state) {
    constexpr std::int64_t run_ns = 600;
    while (!sessions_.empty() && !state.effort.spent()) {
      Leases& leases = sessions_.back();
      // From the last to the first: each record goes to the front of its queue.
      while (!leases.empty() && !state.effort.spent()) {
        const auto last = std::prev(leases.end());
        Queue& queue = *state.queues.at(last->second.key.queue);
        give_back(state, queue, last->second);
        touched.insert(&queue);
        leases.erase(last);
        state.effort.spend(run_ns);
      }
      if (leases.empty()) sessions_.pop_back();
    }
    return sessions_.empty();
  }
  // Nothing goes out before all is back, so that messages go out in the order of their queues.
  bool go_on(Turn& turn) override {
    if (!give(turn.state)) return false;
    dispatch(turn, touched);
    return true;
  }

  QueueSet touched;

 private:
  std::vector<Leases> sessions_;
};

}  // namespace

void confirm_publishers(State& state, std::vector<Answer>& answers, std::uint64_t commits, QueueSet& touched,
                        Actions& actions) {
  std::sort(answers.begin(), answers.end(), [](const Answer& a, const Answer& b) {
    return std::tie(a.publisher, a.first) < std::tie(b.publisher, b.first);
  });
  for (auto at = answers.begin(); at != answers.end();) {
    const auto publisher = state.publishers.find(at->publisher);
    v1::Frame frame;
    frame.mutable_confirmed()->set_commits(commits);
    auto& runs = *frame.mutable_confirmed()->mutable_runs();
    const auto first = at;
    for (; at != answers.end() && at->publisher == first->publisher; ++at) {
      if (Queue* queue = state.find_queue(at->window_of)) {
        free_window(state, *queue, at->publisher, Load{Messages{at->count}, Bytes{at->bytes}}, actions);
        touched.insert(queue);
      }
      auto* last = runs.empty() ? nullptr : &runs[runs.size() - 1];
      // Neighbours in one segment are one run.
      if (last != nullptr && at->refused.empty() && last->answer() == v1::Confirmed::CONFIRMED &&
          last->first() + last->count() == at->first && last->queue() == at->place.queue &&
          last->segment() == at->place.segment && last->index() + last->count() == at->place.index) {
        last->set_count(last->count() + at->count);
        continue;
      }
      auto* run = runs.Add();
      run->set_first(at->first);
      run->set_count(at->count);
      if (at->refused.empty()) {
        run->set_queue(at->place.queue);
        // RULE: confirmation_tells_the_place
        run->set_segment(at->place.segment);
        run->set_index(at->place.index);
      } else {
        run->set_answer(v1::Confirmed::REFUSED);
        run->set_reason(at->refused);
      }
    }
    if (publisher != state.publishers.end()) send(state, publisher->second.connection, std::move(frame), actions);
  }
}

Batch seal(State& state, Now now) {
  // One batch at a time: on_committed confirms what this batch wrote (promise 1).
  WEIR_ASSERT(!state.committing, state.batches);
  judge_watched(state, now);
  Pending& pending = state.gathering;
  Batch batch;
  batch.number = ++state.batches;
  // Segments first: later writes may read messages from them that were delivered ahead of this commit.
  batch.writes.reserve(pending.segments.size() + pending.writes.size() + pending.settled.size());
  for (auto& [key, open] : pending.segments) {
    // No place is given twice: a start goes on above what is reserved in this batch or an earlier one.
    // RULE: places_are_reserved
    WEIR_ASSERT(key.segment <= state.queues.at(key.queue)->state.segments_reserved(), key.queue, key.segment);
    batch.writes.emplace_back(put(key, open));
    pending.answers.insert(pending.answers.end(), open.answers.begin(), open.answers.end());
    open.answers.clear();
  }
  std::move(pending.writes.begin(), pending.writes.end(), std::back_inserter(batch.writes));
  for (const auto& key : pending.settled) {
    LaneState& lane = state.queues.at(key.queue)->lanes[key.lane];
    const auto at = lane.segments.find(key.segment);
    Segment& segment = at->second;
    if (segment.finished()) {
      batch.writes.emplace_back(DropSegment{key});
      if (!segment.ends.empty()) --state.ends_kept;
      const auto ready = lane.ready.find(segment.types);
      if (ready != lane.ready.end()) ready->second.erase(key.segment);
      lane.segments.erase(at);
    } else {
      batch.writes.emplace_back(PutSettled{key, segment.settled.bytes(segment.count)});
    }
  }
  for (const auto id : pending.queues) batch.writes.emplace_back(PutQueue{id, state.queues.at(id)->state});
  for (const auto& id : pending.publishers) {
    const auto at = state.publishers.find(id);
    if (at == state.publishers.end()) continue;
    at->second.dirty = false;
    at->second.mark.set_seen_at_us(micros(now.wall));
    pending.publisher_marks.emplace_back(id, at->second.mark.mark());
    batch.writes.emplace_back(PutPublisher{id, at->second.mark});
  }
  state.sealed = std::move(pending);
  state.gathering = {};  // from here on changed() means the batch after this one: nothing calls it in between
  // The next batch is likely as large.
  state.gathering.writes.reserve(state.sealed.writes.size());
  state.gathering.moved.reserve(state.sealed.moved.size());
  state.committing = true;
  return batch;
}

namespace {

/// Sessions are noted now, and delivery marks are committed: more may be delivered.
void noted_and_marked(State& state, const Pending& pending, QueueSet& touched) {
  for (const auto& [token, shard] : pending.noted) {
    Worker* worker = state.find_worker(token, shard);
    if (worker == nullptr) continue;
    worker->noted = true;
    for (auto& attached : worker->attached) touched.insert(attached.queue);
  }
  for (const auto& mark : pending.marks) {
    Queue& queue = *state.queues.at(mark.queue);
    SegmentNumber& committed = queue.lanes[mark.lane].mark_committed;
    committed = std::max(committed, mark.mark);
    touched.insert(&queue);
  }
}

void written_segments(State& state, Pending& pending, QueueSet& touched) {
  for (auto& [key, open] : pending.segments) {
    Queue& queue = *state.queues.at(key.queue);
    touched.insert(&queue);
    if (!open.appeared) {
      --queue.hidden;
      appear(state, queue, key, open, false);
      continue;
    }
    auto& segments = queue.lanes[key.lane].segments;
    if (const auto at = segments.find(key.segment); at != segments.end()) at->second.ahead.reset();
  }
}

void moved_messages(State& state, Now now, Pending& pending, QueueSet& touched) {
  for (auto& moved : pending.moved) {
    Queue& queue = *state.queues.at(moved.place.queue);
    touched.insert(&queue);
    if (moved.head && schedule(state, now, queue, *moved.head)) continue;
    queue.loaded.erase(moved.place);
    if (moved.due_us != 0) {
      queue.due(moved.due_by).expect(moved.due_us);
      state.expect_due(moved.due_us, moved.due_by);
    }
  }
}

/// Makes ready again what ended sessions held: now, or in later turns.
void return_leases(State& state, Pending& pending, QueueSet& touched) {
  if (pending.returning.empty()) return;
  auto returning = std::make_unique<Returning>(std::move(pending.returning));
  // While a restart is not over, a session may yet claim these messages: then all are given back at once.
  bool done = returning->give(state);
  for (; !done && !state.recovered; done = returning->give(state)) state.effort.refill(state.config.effort_ns);
  if (done) {
    touched.merge(returning->touched);
  } else {
    state.work.push_back(std::move(returning));
  }
}

void committed_marks(State& state, const Pending& pending) {
  for (const auto& [id, mark] : pending.publisher_marks) {
    const auto at = state.publishers.find(id);
    if (at == state.publishers.end()) continue;
    at->second.committed = std::max(at->second.committed, mark);
    at->second.stored = true;
    std::erase_if(at->second.elided, [&](const auto& range) { return range.second <= mark; });
  }
}

/// Sends all answers that waited for this commit.
void tell(State& state, Pending& pending, QueueSet& touched, Actions& actions) {
  confirm_publishers(state, pending.answers, state.commits, touched, actions);
  for (auto& [connection, stale] : pending.stale) {
    v1::Frame frame;
    *frame.mutable_settled() = std::move(stale);
    send(state, connection, std::move(frame), actions);
  }
  confirm_settled(state, pending.settled_frames, actions);
  for (auto& reply : pending.replies) {
    v1::Frame frame;
    *frame.mutable_control_reply() = std::move(reply.reply);
    send(state, reply.to, std::move(frame), actions);
  }
  for (const auto connection : pending.buried) {
    v1::Frame frame;
    frame.mutable_control_reply();  // id 0: the death is on disk
    send(state, connection, std::move(frame), actions);
  }
}

}  // namespace

void on_committed(Turn& turn) {
  State& state = turn.state;
  // RULE: confirmed_by_its_own_commit
  WEIR_ASSERT(state.committing, state.batches);  // nothing is confirmed except by its own commit (promise 1)
  Pending pending = std::move(state.sealed);
  state.sealed = {};
  state.committing = false;
  // RULE: commits_are_counted
  ++state.commits;
  QueueSet touched;
  noted_and_marked(state, pending, touched);
  written_segments(state, pending, touched);
  moved_messages(state, turn.now, pending, touched);
  return_leases(state, pending, touched);
  committed_marks(state, pending);
  tell(state, pending, touched, turn.actions);
  for (Queue* queue : touched) share_room(state, *queue, turn.actions);
  dispatch(turn, touched);
  if (pending.given_up > 0) {
    state.recovering -= pending.given_up;
    recovery_tick(turn);
  }
}

}  // namespace weir::broker::core
