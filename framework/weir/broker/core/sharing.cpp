// Sharing: a worker of several queues has room for each of them.
//
// While more than one of its queues has something for it, none may fill its window. A queue's share is the window
// divided by the number of queues that are waiting. What a queue leaves of its share goes to the others in turn.
//
// The share of one queue among a thousand is a handful, and a delivery costs the same for a handful as for many. So a
// queue whose messages end soon (holding.cpp) may have a *lot* of 1/64 of the window. If they get stuck all the same,
// other queues have room: all lots together are at most 7/8 of the window. Retried messages are not watched. So a queue
// with records that are due has its share and no more; the same holds for a queue of which nothing has ended yet.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

constexpr std::uint64_t lots_of_a_window = 64;

}  // namespace

bool has_ready(const State& state, const Queue& queue) {
  if (!queue.ready_records.empty()) return true;
  for (std::uint16_t lanes = queue.used_lanes; lanes != 0;) {
    for (const auto& [types, ready] : queue.lanes[take_highest(lanes)].ready) {
      if (!ready.empty()) return true;
    }
  }
  return has_ahead(state, queue);
}

Queue* next_waiting(State& state, Worker& worker, QueueId after) {
  if (worker.attached.size() < state.waiting.size()) {
    auto at = std::partition_point(worker.attached.begin(), worker.attached.end(),
                                   [&](const Attached& one) { return one.queue->id <= after; });
    at = std::find_if(at, worker.attached.end(),
                      [&](const Attached& one) { return state.waiting.contains(one.queue->id); });
    return at == worker.attached.end() ? nullptr : at->queue;
  }
  for (auto at = state.waiting.upper_bound(after); at != state.waiting.end(); ++at) {
    if (worker.attachment(at->second) != nullptr) return at->second;
  }
  return nullptr;
}

void count_sharers(State& state, Worker& worker) {
  worker.sharers = 0;
  worker.waiting_counted = state.waiting.size();
  if (worker.attached.size() < state.waiting.size()) {
    for (const Attached& one : worker.attached) {
      worker.sharers += !one.queue->paused_until && state.waiting.contains(one.queue->id) ? 1 : 0;
    }
    return;
  }
  // Both are in the order of ids.
  auto attached = worker.attached.begin();
  for (const auto& [id, queue] : state.waiting) {
    while (attached != worker.attached.end() && attached->queue->id < id) ++attached;
    if (attached == worker.attached.end()) break;
    worker.sharers += attached->queue == queue && !queue->paused_until ? 1 : 0;
  }
}

std::uint64_t share_of(const Worker& worker) {
  // Rounded down: rounded up, some slow queues would have the share of the last.
  return std::max<std::uint64_t>(1, worker.window.messages.value / std::max(2U, worker.sharers));
}

std::uint64_t credit(State& state, Now now, Worker& worker, const Attached& attached) {
  if (worker.outstanding.messages >= worker.window.messages) return 0;
  const std::uint64_t left = (worker.window.messages - worker.outstanding.messages).value;
  if (worker.attached.size() < 2) return left;
  const auto shares = [&](const Queue* other) {
    return other == nullptr || (other != attached.queue && !other->paused_until && has_ready(state, *other));
  };
  const Queue* other = next_waiting(state, worker, 0);
  while (!shares(other)) other = next_waiting(state, worker, other->id);
  if (other == nullptr) return left;
  std::uint64_t share = share_of(worker);
  const std::uint64_t lot = worker.window.messages.value / lots_of_a_window;
  if (share < lot && worker.borrowed.value + lot <= worker.window.messages.value / 8 * 7 && attached.queue->was_quick &&
      is_quick(*attached.queue) && !has_due(state, now, *attached.queue)) {
    share = lot;
  }
  const std::uint64_t used = attached.outstanding.value;
  return used >= share ? 0 : std::min(left, share - used);
}

}  // namespace weir::broker::core
