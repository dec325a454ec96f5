// Holding: a commit waits a little for work that makes it needless.
//
// In a queue that runs ahead (ahead.cpp) a message that is acked before its batch is sealed is never written. Handlers
// that keep up end within 1 or 2 ms. But an idle disk would begin a commit every fraction of a millisecond, and write
// messages that are about to end. So a commit waits while all that it would bring is such work: publishes, for
// `publish_held_most` since they came; acks and counts, for `settled_held_most` since the first. Anything else never
// waits: a publish without a worker, a retry, an output of a message that is not on disk, an operator's request.
//
// It must pay. One message of a queue after the other is watched from its delivery on, and a queue is *quick* unless
// the last `slow_in_a_row_most` looks found it slow: `publish_held_most` was over. No publish waits in a queue that is
// not quick, or that has a backlog on disk.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

constexpr Duration publish_held_most = std::chrono::milliseconds(10);
constexpr Duration settled_held_most = std::chrono::milliseconds(20);
constexpr unsigned slow_in_a_row_most = 4;

}  // namespace

std::uint64_t held_most(const Queue& queue) {
  std::uint64_t sum = 0;
  for (const Worker* worker : queue.attached) sum += worker->connection != 0 ? worker->window.messages.value : 0;
  return sum;
}

bool is_quick(const Queue& queue) {
  return queue.policy.ahead && queue.slow_in_a_row < slow_in_a_row_most && held_most(queue) > 0;
}

std::uint64_t written(const Queue& queue) {
  const std::uint64_t others = queue.unanswered.messages.value + queue.records.value;
  return queue.live.messages.value > others ? queue.live.messages.value - others : 0;
}

Instant commit_due(const State& state) {
  const Pending& pending = state.gathering;
  if (pending.empty()) return Instant::max();
  if (!state.runs_ahead || !state.recovered || pending.has_more()) return Instant::min();
  for (const QueueId id : pending.queues) {
    if (!state.queues.at(id)->policy.ahead) return Instant::min();
  }
  Instant due = pending.since + settled_held_most;
  const Queue* looked_at = nullptr;
  for (const auto& [key, open] : pending.segments) {
    if (open.needed || open.bears_outputs) return Instant::min();
    due = std::min(due, open.since + publish_held_most);
    const Queue* queue = state.queues.at(key.queue).get();
    if (queue == looked_at) continue;
    looked_at = queue;
    if (!is_quick(*queue) || written(*queue) > held_most(*queue)) return Instant::min();
  }
  return due;
}

void watch(Now now, Queue& queue, const SegmentKey& key, std::uint32_t first) {
  queue.handed_at = now.instant;
  if (!queue.watched && queue.policy.ahead) queue.watched = {key, first, now.instant};
}

void watched_ended(Now now, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t last) {
  if (!queue.watched || queue.watched->key != key || queue.watched->index < first || queue.watched->index >= last)
    return;
  const bool in_time = now.instant - queue.watched->since < publish_held_most;
  queue.slow_in_a_row = in_time ? 0 : queue.slow_in_a_row + 1;
  queue.was_quick |= in_time;
  queue.watched.reset();
}

void watched_returns(Queue& queue, const SegmentKey& key) {
  if (queue.watched && queue.watched->key == key) queue.watched.reset();
}

void judge_watched(State& state, Now now) {
  if (!state.runs_ahead) return;
  const auto long_ago = [&](Instant since) { return now.instant - since >= publish_held_most; };
  const auto& segments = state.gathering.segments;
  for (const QueueId id : state.gathering.queues) {
    Queue& queue = *state.queues.at(id);
    bool slow = queue.watched && long_ago(queue.watched->since);
    if (slow) queue.watched.reset();
    auto at = long_ago(queue.handed_at) ? segments.lower_bound(SegmentKey{id, 0, 0}) : segments.end();
    for (; !slow && at != segments.end() && at->first.queue == id; ++at) slow = long_ago(at->second.since);
    if (slow) ++queue.slow_in_a_row;
  }
}

}  // namespace weir::broker::core
