// Bursts: what is published together is for all who have room.
//
// A piece is as large as a window admits, so twelve messages of one frame would all go to whoever has the turn, while
// others idle. So before pieces are handed over, what is ready is poured over the sessions with room, the emptiest
// first, as water finds its level: nobody is filled above it. With a backlog of more than 512 messages for each of them
// there is no need: all are filled. Records (retries) are handed over one by one, in turns.
//
// What cannot go by the level, as those below it know no such type or have no bytes left, goes by turns afterwards.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// A backlog is counted no further than so many messages for each session, or so many segments: one has 256 messages,
/// or is small, and then a piece is as well.
constexpr std::uint64_t counted_for_each = 512;
constexpr std::size_t segments_most = 64;

bool has_room(State& state, Worker& worker) {
  return worker.connection != 0 && worker.noted && worker.outstanding.messages < worker.window.messages &&
         reads(state, worker);
}

/// In segments; `most` if there are more, or it is not known.
std::uint64_t ready_in(const Queue& queue, std::uint64_t most) {
  std::uint64_t ready = 0;
  std::size_t looked_at = 0;
  for (const LaneState& lane : queue.lanes) {
    for (const auto& [types, segments] : lane.ready) {
      for (const SegmentNumber number : segments) {
        const Segment& segment = lane.segments.at(number);
        ready += segment.count - segment.taken.count();
        if (ready >= most || ++looked_at == segments_most) return most;
      }
    }
  }
  return ready;
}

}  // namespace

std::uint64_t level_of(State& state, const Queue& queue) {
  if (queue.attached.size() < 2) return no_level;
  std::vector<std::uint64_t>& held = state.held;
  held.clear();
  for (Worker* const worker : queue.attached) {
    if (has_room(state, *worker)) held.push_back(worker->outstanding.messages.value);
  }
  if (held.size() < 2) return no_level;
  const std::uint64_t most = held.size() * counted_for_each;
  const std::uint64_t ready = ready_in(queue, most);
  if (ready == most) return no_level;
  std::sort(held.begin(), held.end());
  std::uint64_t poured = ready;  // and what they hold, of the `filled` emptiest
  std::uint64_t filled = 0;
  while (filled < held.size() && held[filled] * filled < poured) poured += held[filled++];
  return filled == 0 ? no_level : (poured + filled - 1) / filled;
}

}  // namespace weir::broker::core
