// Delivering ahead: messages go to workers while their commit is still gathered, or being written.
//
// A publish is confirmed once its commit is on disk, or once its messages are acked by acks that leave nothing to
// write: then it need never be written. So work that keeps up hardly touches the disk, and does not wait for it.
//
// A segment stays open while no worker has credit for it, so that small frames go on joining it. When a worker has
// credit and nothing else is ready, the queue's segments that are not on disk *appear* in their lanes, closed; the
// shell finds their bytes in the piece. From then on they are like any other segment, with two exceptions. A segment
// whose messages are all settled before it was sealed is *elided*. A write that reads one of its messages from the
// store (a retry, a dead letter) comes after it in the batch.
//
// If the broker dies, the next one does not know what was delivered ahead and not written. The place is never given
// again, the worker's claim is stale, and the publisher, which heard nothing, sends the message again.
#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// While no more segments than this have their ends in memory, ends are kept from the publish on: 1 KiB each.
constexpr std::size_t ends_kept_most = 8192;

bool allowed(const State& state, const Queue& queue) { return queue.policy.ahead && state.room; }

/// Calls `each` for the queue's segments in a commit that is not on disk.
template <class Each>
void for_segments(Pending& pending, QueueId queue, Each each) {
  for (auto at = pending.segments.lower_bound(SegmentKey{queue, 0, 0});
       at != pending.segments.end() && at->first.queue == queue; ++at) {
    each(at->first, at->second);
  }
}

void drop(State& state, Queue& queue, const SegmentKey& key) {
  LaneState& lane = queue.lanes[key.lane];
  const auto at = lane.segments.find(key.segment);
  --state.ends_kept;
  if (const auto ready = lane.ready.find(at->second.types); ready != lane.ready.end()) ready->second.erase(key.segment);
  lane.segments.erase(at);
  state.gathering.settled.erase(key);
}

}  // namespace

void appear(State& state, Queue& queue, const SegmentKey& key, OpenSegment& open, bool ahead) {
  const v1::Index& index = open.contents->index;
  Segment segment;
  segment.count = static_cast<std::uint32_t>(index.lengths_size());
  segment.types = state.type_sets.intern(index.types());
  segment.settled = segment.taken = open.settled;
  if (ahead) segment.ahead = open.contents;
  const bool keep = ahead || state.ends_kept < ends_kept_most;
  if (keep) {
    segment.ends.reserve(segment.count);
    ++state.ends_kept;
  }
  std::uint32_t end = 0;
  for (const auto length : index.lengths()) {
    end += length;
    if (keep) segment.ends.push_back(end);
  }
  segment.bytes = end;
  state.wake(queue);
  LaneState& lane = queue.use(key.lane);
  lane.ready[segment.types].insert(key.segment);
  lane.segments.emplace_hint(lane.segments.end(), key.segment, std::move(segment));
}

bool has_ahead(const State& state, const Queue& queue) { return queue.hidden > 0 && allowed(state, queue); }

bool run_ahead(State& state, Queue& queue) {
  if (!has_ahead(state, queue)) return false;
  for (Pending* pending : {&state.sealed, &state.gathering}) {
    for_segments(*pending, queue.id, [&](const SegmentKey& key, OpenSegment& open) {
      if (open.appeared) return;
      open.closed = open.appeared = true;
      --queue.hidden;
      appear(state, queue, key, open, true);
    });
  }
  return true;
}

void needs_segment(State& state, const SegmentKey& key) {
  // RULE: confirmed_without_being_written
  if (const auto at = state.gathering.segments.find(key); at != state.gathering.segments.end())
    at->second.needed = true;
}

void bears_outputs(State& state, const SegmentKey& key) {
  if (const auto at = state.gathering.segments.find(key); at != state.gathering.segments.end()) {
    at->second.bears_outputs = true;
  }
}

void settled_ahead(State& state, Queue& queue, const SegmentKey& key) {
  const auto at = state.gathering.segments.find(key);
  if (at == state.gathering.segments.end() || at->second.needed) return;  // it is being written, or must be
  OpenSegment& open = at->second;
  for (const Answer& answer : open.answers) {
    const auto publisher = state.publishers.find(answer.publisher);
    // A publisher that heard a confirmation, and is unknown to the next broker, would not dare to send the rest again.
    const bool unknown = publisher != state.publishers.end() && !publisher->second.stored;
    if (open.bears_outputs || unknown) {
      state.gathering.answers.push_back(answer);
      continue;
    }
    state.elided.push_back(answer);
    if (publisher == state.publishers.end()) continue;
    auto& elided = publisher->second.elided;
    const std::uint64_t last = answer.first + answer.count - 1;
    if (!elided.empty() && elided.back().second + 1 == answer.first) {
      elided.back().second = last;
    } else {
      elided.emplace_back(answer.first, last);
    }
  }
  drop(state, queue, key);
  state.gathering.segments.erase(at);
}

void tell_elided(State& state, Actions& actions) {
  if (state.elided.empty()) return;
  QueueSet touched;
  std::vector<Answer> answers = std::move(state.elided);
  state.elided.clear();
  // RULE: unwritten_bears_no_count
  confirm_publishers(state, answers, 0, touched, actions);  // 0: after a crash the store rightly knows less than they
  for (Queue* queue : touched) share_room(state, *queue, actions);
}

}  // namespace weir::broker::core
