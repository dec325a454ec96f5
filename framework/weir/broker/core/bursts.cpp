// Bursts: messages that are published together are shared by all workers with room.
//
// A piece is as large as a window admits. So twelve messages of one frame would all go to the worker that has the turn,
// while others idle. Before pieces are handed over, the ready messages are therefore poured over the sessions with
// room, the emptiest first, as water finds its level: no session is filled above it. With a backlog of 512 messages or
// more for each of them this is not needed: all are filled. Records (retries) are handed over one by one, in turns.
//
// If no session below the level knows a message's type, or has bytes left, the message goes by turns afterwards.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// A backlog is counted up to so many messages for each session, or so many segments. A segment has 256 messages, or is
/// small; then a piece of it is small as well.
constexpr std::uint64_t counted_for_each = 512;
constexpr std::size_t segments_most = 64;

bool has_room(State& state, Worker& worker) {
  return worker.connection != 0 && worker.noted && worker.outstanding.messages < worker.window.messages &&
         reads(state, worker);
}

/// Ready messages in segments; `most` if there are so many, or if it is not known.
std::uint64_t ready_in(const Queue& queue, std::uint64_t most) {
  std::uint64_t ready = 0;
  std::size_t looked_at = 0;
  for (std::uint16_t lanes = queue.used_lanes; lanes != 0;) {
    const LaneState& lane = queue.lanes[take_highest(lanes)];
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
  std::uint64_t poured = ready;  // plus what the `filled` emptiest sessions hold
  std::uint64_t filled = 0;
  while (filled < held.size() && held[filled] * filled < poured) poured += held[filled++];
  return filled == 0 ? no_level : (poured + filled - 1) / filled;
}

}  // namespace weir::broker::core
