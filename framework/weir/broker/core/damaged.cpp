// Values that the store does not have as they were written are set aside: they are not delivered, they are counted and
// named, and stay on the disk as they are. Their neighbours go on.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// The most names in a line; the rest is a count.
constexpr std::size_t named_most = 16;

std::string print_segment(const Queue& queue, SegmentNumber segment) {
  const std::string id = print_id(queue.name, segment, 0);
  return "segment " + id.substr(0, id.rfind('.'));
}

void name(Queue& queue, std::string what) {
  if (queue.damaged_named.size() < named_most) queue.damaged_named.push_back(std::move(what));
}

/// Counts messages as damaged that were live until now.
void lose(Queue& queue, Load load) {
  queue.damaged += load.messages;
  queue.damaged_untold += load.messages;
  queue.live.messages -= load.messages;
  // The sizes of messages that cannot be read are a guess.
  queue.live.bytes -= queue.live.messages.value == 0 ? queue.live.bytes : std::min(queue.live.bytes, load.bytes);
}

void lose_record(Queue& queue, const Place& place, Bytes bytes) {
  queue.records -= Messages{1};
  lose(queue, {Messages{1}, bytes});
  name(queue, print_id(queue.name, place.segment, place.index));
}

/// True if a session holds the message as a record (compacting.cpp): it has the bytes, and may yet ack the message.
bool is_held(State& state, const Place& place) {
  for (const auto& [token, process] : state.processes) {
    for (const auto& [shard, worker] : process.workers) {
      for (const auto& [lease, run] : worker->leases) {
        if (run.source == Source::record && run.record && run.record->place == place) return true;
      }
    }
  }
  return false;
}

/// Forgets the move of a message in the batch that is on disk now: it did not come about. Returns the bytes that the
/// batch says the message has.
Bytes forget_move(Pending& pending, const Place& place) {
  Bytes bytes{};
  for (const auto& moved : pending.moved) {
    if (moved.place == place && moved.head) bytes = moved.head->bytes;
  }
  std::erase_if(pending.moved, [&](const auto& moved) { return moved.place == place; });
  return bytes;
}

}  // namespace

void set_aside(State& state, const SegmentKey& key, Segment& segment) {
  Queue& queue = *state.find_queue(key.queue);
  if (!std::exchange(segment.damaged, true)) name(queue, print_segment(queue, key.segment));
  if (segment.ends.empty()) {
    for (std::uint64_t i = 1; i <= segment.count; ++i) {
      segment.ends.push_back(static_cast<std::uint32_t>(segment.bytes * i / segment.count));
    }
    ++state.ends_kept;
  }
  for (std::uint32_t first = segment.taken.next_clear(0); first < segment.count;) {
    const std::uint32_t last = std::min(segment.taken.next_set(first), segment.count);
    set_aside(queue, segment, first, last);
    first = segment.taken.next_clear(last);
  }
}

void set_aside(Queue& queue, Segment& segment, std::uint32_t first, std::uint32_t last) {
  segment.taken.set(first, last);
  segment.aside += last - first;
  lose(queue, {Messages{last - first}, Bytes{segment.bytes_of(first, last)}});
}

void set_aside(Queue& queue, const Place& place) {
  if (queue.loaded.insert(place).second) lose_record(queue, place, {});
}

void found_damaged(Queue& queue, const Place& dead) {
  name(queue, "dead letter " + print_id(queue.name, dead.segment, dead.index));
}

void on_undelivered(Turn& turn, Connection to, const std::vector<Piece>& pieces) {
  const Client* client = turn.state.find_client(to);
  Worker* worker = client == nullptr ? nullptr : client->worker;
  for (const Piece& piece : pieces) {
    Queue& queue = *turn.state.find_queue(piece.key.queue);
    auto& segments = queue.lanes[piece.key.lane].segments;
    const auto segment = piece.source == Source::segment ? segments.find(piece.key.segment) : segments.end();
    if (segment != segments.end()) set_aside(turn.state, piece.key, segment->second);
    if (worker == nullptr) continue;
    const auto at = worker->leases.find(piece.lease);
    if (at == worker->leases.end()) continue;  // its session has ended: it is set aside before it goes out again
    const LeaseRun& run = at->second;
    const Load load{Messages{run.count}, Bytes{bytes_of(turn.state, run, 0, run.count)}};
    worker->let_go(worker->attachment(&queue), load);
    watched_returns(queue, run.key);
    if (segment != segments.end()) {
      set_aside(queue, segment->second, run.first, run.first + run.count);
    } else {
      lose_record(queue, {piece.key.queue, piece.key.segment, piece.first}, load.bytes);
    }
    worker->leases.erase(at);
  }
  if (worker != nullptr) dispatch_for(turn, *worker);
}

void on_damaged(State& state, const std::vector<Damage>& all) {
  for (const Damage& damage : all) {
    Queue& queue = *state.find_queue(damage.key.queue);
    const Place place{damage.key.queue, damage.key.segment, damage.index};
    if (is_held(state, place)) continue;
    Bytes bytes = forget_move(state.sealed, place);
    auto& segments = queue.lanes[damage.key.lane].segments;
    const auto segment = damage.of == Damage::Of::segment ? segments.find(damage.key.segment) : segments.end();
    if (segment != segments.end()) {
      set_aside(state, damage.key, segment->second);
      bytes = Bytes{segment->second.bytes_of(damage.index, damage.index + 1)};
      segment->second.settled.clear(damage.index);
      ++segment->second.aside;
    }
    if (damage.was_to_die) {
      queue.dead -= Messages{1};
      queue.live.messages += Messages{1};
      queue.records += Messages{1};
    }
    lose_record(queue, place, bytes);
  }
}

void tell_damaged(Queue& queue, Actions& actions) {
  if (queue.damaged_named.empty()) return;
  std::string what;
  for (const std::string& one : queue.damaged_named) what += (what.empty() ? "" : ", ") + one;
  if (queue.damaged_named.size() == named_most) what += ", and perhaps more";
  note(actions, Note::Level::warning, "store_value_damaged",
       {{"queue", queue.name},
        {"what", what},
        {"messages", std::to_string(queue.damaged_untold.value)},
        {"damaged", std::to_string(queue.damaged.value)},
        {"doing", "set aside, and left in the store as it is; the rest of the queue goes on"}});
  queue.damaged_named.clear();
  queue.damaged_untold = {};
}

}  // namespace weir::broker::core
