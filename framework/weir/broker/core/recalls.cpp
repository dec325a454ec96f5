// Recalls: messages that were handed out and have not started are asked back for idle workers.
//
// A session is handed what its window has room for, and some handlers take longer than others. In the end one session
// has a hundred messages at hand while another has none. So, while a queue has nothing ready, the core looks for a
// session that idled at two looks in a row, and for one that held several messages at both. The second is asked for
// what it has above an even share. It gives back what it has not started, uncounted (RELEASE), the newest first; that
// goes to the idle session (bursts.cpp). It need not do so: a client that does not know RECALL keeps what it has.
//
// Two looks are 100 ms apart. Where messages come and go faster than that, no session is asked, or it is asked in vain.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

constexpr Duration recalled_every = std::chrono::milliseconds(100);
/// A worker that is held up by its handler hears nothing: it is not asked more often than this.
constexpr Duration asked_again_after = std::chrono::seconds(1);

struct Seen {
  std::uint64_t idle = 0;
  bool somebody_holds_several = false;
  Worker* busiest = nullptr;
  Attached* of_busiest = nullptr;
};

bool takes_part(const Worker& worker) { return worker.connection != 0 && worker.noted && !worker.process->alone; }

/// Finds idle sessions and the busiest one; notes what each holds, for the next look.
Seen look_at(State& state, Now now, Queue& queue) {
  Seen seen;
  for (Worker* const worker : queue.attached) {
    Attached& attached = *worker->attachment(&queue);
    const std::uint64_t held = attached.outstanding.value;
    const std::uint64_t before = std::exchange(attached.held_at_look, held);
    seen.somebody_holds_several |= held > 1;
    if (!takes_part(*worker)) continue;
    if (held == 0 && before == 0 && worker->outstanding.messages.value == 0 && worker->window.messages.value > 0 &&
        reads(state, *worker)) {
      ++seen.idle;
    }
    const bool holds_on = held > 1 && before > 1 && now.instant >= attached.asked_again_at;
    if (holds_on && (seen.busiest == nullptr || held > seen.of_busiest->outstanding.value)) {
      seen.busiest = worker;
      seen.of_busiest = &attached;
    }
  }
  return seen;
}

}  // namespace

void look_for_recalls(State& state, Now now) { state.next_recall = now.instant + recalled_every; }

void recalls_tick(Turn& turn) {
  if (turn.now.instant < turn.state.next_recall) return;
  turn.state.next_recall = Instant::max();
  for (const auto& [id, queue] : turn.state.queues) {
    if (queue->attached.size() < 2) continue;
    const Seen seen = look_at(turn.state, turn.now, *queue);
    if (seen.somebody_holds_several) look_for_recalls(turn.state, turn.now);
    if (seen.busiest == nullptr || seen.idle == 0 || queue->paused_until || turn.state.waiting.contains(id)) continue;
    const std::uint64_t held = seen.of_busiest->outstanding.value;
    const std::uint64_t share = (held + seen.idle) / (seen.idle + 1);  // rounded up
    seen.of_busiest->asked_again_at = turn.now.instant + asked_again_after;
    v1::Frame frame;
    frame.mutable_recall()->set_queue(id);
    frame.mutable_recall()->set_messages(held - share);
    send(turn.state, seen.busiest->connection, std::move(frame), turn.actions);
  }
}

}  // namespace weir::broker::core
