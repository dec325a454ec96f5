// Messages with a fate of their own: due times, dead letters, unknown types.
#include <algorithm>
#include <limits>

#include "weir/broker/core/state.hpp"
#include "weir/message/assert.hpp"

namespace weir::broker::core {
namespace {

constexpr Duration housekeeping_every = std::chrono::seconds(1);
constexpr std::size_t load_most = 1024;
/// A walk rests 0.5 µs for each record that the next walk looks at again, about ten times what the look takes. Where
/// 1,000 records are due within 64 ms, they are 0.5 ms late, and at most a tenth of the loop's time is spent on them.
constexpr std::size_t looked_at_a_microsecond = 2;
/// The most records that wait in memory until they are due, about 250 bytes each: in all queues, and in one. A queue of
/// which nothing is taken must not have all the room.
constexpr std::size_t scheduled_most = 65'536;
constexpr std::size_t scheduled_of_queue_most = 16'384;
constexpr Duration scheduled_within = std::chrono::seconds(10);
/// The most of each kind in one go of the housekeeping, which must not hold up the loop.
constexpr std::size_t housekeeping_most = 1024;

bool known_by_anyone(const Queue& queue, const std::string& type) {
  return std::any_of(queue.attached.begin(), queue.attached.end(), [&](Worker* worker) {
    const Attached* one = worker->attachment(&queue);
    return one->types.empty() || one->types.contains(type);
  });
}

v1::Attempt nobody_knows(Now now, const std::string& type, Duration grace) {
  v1::Attempt attempt;
  attempt.set_started_at_us(micros(now.wall));
  attempt.set_error("no attached worker knows type '" + type + "'; it waited " +
                    std::to_string(std::chrono::duration_cast<std::chrono::seconds>(grace).count()) +
                    " s (unknown_grace)");
  return attempt;
}

/// True once `type` has waited its grace; the clock runs only while a worker is attached.
bool grace_over(Queue& queue, Now now, const std::string& type) {
  if (known_by_anyone(queue, type)) return false;
  const auto since = queue.unknown_since.try_emplace(type, now.instant).first->second;
  return now.instant - since >= queue.policy.unknown_grace;
}

/// Makes a message of an unknown type a dead letter. `move` says where the message is, and what it was.
void bury(State& state, Now now, Queue& queue, MoveMessage move, Bytes bytes, const std::string& type) {
  queue.live -= Load{Messages{1}, bytes};
  queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
  move.dead = true;
  move.at_us = state.clock_us(now.instant);
  move.attempt = Attempted(nobody_knows(now, type, queue.policy.unknown_grace));
  move_message(state, queue, std::move(move));
}

void bury_unknown(Turn& turn, Queue& queue) {
  if (queue.attached.empty()) return;
  std::size_t buried = 0;
  const auto bury_records = [&](std::deque<RecordHead>& heads) {
    for (auto at = heads.begin(); at != heads.end() && buried < housekeeping_most;) {
      if (!grace_over(queue, turn.now, at->type)) {
        ++at;
        continue;
      }
      MoveMessage move{.place = at->place, .lane = at->lane, .source = Source::record};
      move.attempts = at->attempts;
      move.lease = at->lease;
      bury(turn.state, turn.now, queue, std::move(move), at->bytes, at->type);
      at = heads.erase(at);
      ++buried;
    }
  };
  bury_records(queue.ready_records);
  for (auto& [suspicion, heads] : queue.suspects) bury_records(heads);
  std::erase_if(queue.suspects, [](const auto& kind) { return kind.second.empty(); });
  for (Lane lane = 0; lane < lanes_most; ++lane) {
    for (auto& [set, ready] : queue.lanes[lane].ready) {
      const auto& types = turn.state.type_sets.types(set);
      std::vector<bool> over;
      for (const auto& type : types) over.push_back(!ready.empty() && grace_over(queue, turn.now, type));
      if (std::none_of(over.begin(), over.end(), [](bool one) { return one; })) continue;
      for (auto number = ready.begin(); number != ready.end() && buried < housekeeping_most;) {
        const SegmentKey key{queue.id, lane, *number};
        Segment& segment = queue.lanes[lane].segments.at(*number);
        if (!load(turn.state, key, segment)) {
          number = ready.erase(number);
          continue;
        }
        for (std::uint32_t i = segment.taken.next_clear(0); i < segment.count; i = segment.taken.next_clear(i + 1)) {
          const std::uint32_t type = segment.type(i);
          if (!over[type]) continue;
          const Place place{queue.id, *number, i};
          bury(turn.state, turn.now, queue, {.place = place, .lane = lane, .source = Source::segment},
               Bytes{segment.bytes_of(i, i + 1)}, types[type]);
          ++buried;
        }
        number = segment.has_ready() ? std::next(number) : ready.erase(number);
      }
    }
  }
  if (buried > 0) {
    note(turn.actions, Note::Level::warning, "unknown_types_buried",
         {{"queue", queue.name}, {"messages", std::to_string(buried)}});
  }
}

/// False if it goes already: by a request, or by an earlier look whose commit is not on disk yet.
bool drop_dead(State& state, Queue& queue, Place place) {
  if (!queue.loaded.insert(place).second) return false;
  state.gathering.writes.emplace_back(DropDead{place});
  state.gathering.moved.push_back({place, 0});
  queue.dead -= Messages{1};
  return true;
}

/// Drops the oldest dead letters when there are too many (`on_full: oldest`), and those past their `keep`.
void trim_dead(Turn& turn, Queue& queue) {
  const DeadPolicy& policy = queue.policy.dead;
  std::vector<Place> places;
  std::size_t trimmed = 0;
  if (policy.most && policy.on_full == OnDeadFull::oldest && queue.dead > *policy.most) {
    const auto over = static_cast<std::size_t>((queue.dead - *policy.most).value);
    turn.state.store.snapshot()->dead_after(queue.id, std::nullopt, std::min(over, housekeeping_most), places);
    for (const Place& place : places) trimmed += drop_dead(turn.state, queue, place) ? 1 : 0;
  }
  if (policy.keep && queue.dead.value > 0) {
    // A walk, one part at a time: dead letters are in the order of their places, not of their deaths.
    places.clear();
    const auto snapshot = turn.state.store.snapshot();
    snapshot->dead_after(queue.id, queue.dead_walk, housekeeping_most, places);
    queue.dead_walk = places.size() < housekeeping_most ? std::optional<Place>{} : places.back();
    for (const Place& place : places) {
      const auto bytes = snapshot->dead(place);
      v1::Record record;
      if (!bytes || !record.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) continue;
      if (turn.state.clock_us(turn.now.instant) - record.dead_since_us() < policy.keep->count()) continue;
      trimmed += drop_dead(turn.state, queue, place) ? 1 : 0;
    }
  }
  if (trimmed > 0) {
    note(turn.actions, Note::Level::warning, "dead_letters_trimmed",
         {{"queue", queue.name}, {"messages", std::to_string(trimmed)}});
  }
}

/// Writes one line per queue and second, however many dead letters there are.
void tell_dead(Queue& queue, Actions& actions) {
  if (queue.dead_untold.value == 0) return;
  const Place& first = queue.dead_untold_first;
  note(actions, Note::Level::warning, "dead_lettered",
       {{"queue", queue.name},
        {"messages", std::to_string(queue.dead_untold.value)},
        {"first", print_id(queue.name, first.segment, first.index)},
        {"dead", std::to_string(queue.dead.value)}});
  queue.dead_untold = {};
}

std::int64_t walk_due_us(const DueRange& range) { return std::max(range.walk_next_us, range.walk_rests_until_us); }

/// Loads the scheduled records that are due, up to the first due time that only the store may know. Returns how many.
std::size_t load_scheduled(State& state, Queue& queue, DueRange& range, std::int64_t clock) {
  std::size_t loaded = 0;
  const std::int64_t until = std::min(clock, walk_due_us(range));
  auto at = range.scheduled.begin();
  for (; at != range.scheduled.end() && loaded < load_most; ++at, ++loaded) {
    if (at->first.first > until) break;
    queue.ready(std::move(at->second), false);
  }
  range.scheduled.erase(range.scheduled.begin(), at);
  state.scheduled -= loaded;
  if (loaded > 0) state.wake(queue);
  return loaded;
}

/// Loads records that only the store knows, from where the walk stands.
void load_from_store(State& state, Queue& queue, DueBy by, std::int64_t clock) {
  std::vector<RecordHead> heads;
  DueRange& range = queue.due(by);
  const DueWalk walk = state.store.snapshot()->due({queue.id, by, range.cursor, clock, load_most}, queue.loaded, heads);
  constexpr std::int64_t read_ns = 1'500;
  state.effort.spend(static_cast<std::int64_t>(heads.size()) * read_ns);
  range.cursor = walk.at;
  range.walk_next_us = walk.next_us;
  for (const Place& place : walk.damaged) set_aside(queue, place);
  if (heads.size() < load_most) {
    range.walk_rests_until_us = clock + static_cast<std::int64_t>(walk.again / looked_at_a_microsecond);
  }
  for (auto& head : heads) {
    // It fell due after the start. But the wall clock may have been put back before that; then a session may hold it.
    if (!state.recovered && head.lease.incarnation < state.incarnation && head.place.segment <= queue.found_up_to) {
      continue;
    }
    queue.loaded.insert(head.place);
    state.wake(queue);
    queue.ready(std::move(head), false);
  }
}

}  // namespace

bool has_due(const State& state, Now now, const Queue& queue) {
  if (!queue.ready_records.empty() || !queue.suspects.empty()) return true;
  if (queue.records.value == 0) return false;
  return std::ranges::any_of(due_clocks, [&](DueBy by) { return queue.due(by).next_us <= state.time_us(now, by); });
}

void load_due(State& state, Now now, Queue& queue) {
  for (const DueBy by : due_clocks) {
    const std::int64_t clock = state.time_us(now, by);
    DueRange& range = queue.due(by);
    if (range.next_us > clock || queue.ready_records.size() >= ready_records_most) continue;
    if (load_scheduled(state, queue, range, clock) == 0 && walk_due_us(range) <= clock) {
      load_from_store(state, queue, by, clock);
    }
    range.next_us = walk_due_us(range);
    if (!range.scheduled.empty()) range.next_us = std::min(range.next_us, range.scheduled.begin()->first.first);
    state.expect_due(range.next_us, by);
  }
}

bool may_wait_in_memory(const State& state, Now now, const Queue& queue, std::int64_t due_us, DueBy by) {
  // While a restart is not over, a session may yet claim it.
  return state.recovered && state.scheduled < scheduled_most &&
         queue.due(by).scheduled.size() < scheduled_of_queue_most &&
         due_us <= state.time_us(now, by) + scheduled_within.count();
}

bool schedule(State& state, Now now, Queue& queue, RecordHead& head) {
  if (!may_wait_in_memory(state, now, queue, head.due_us, head.due_by)) return false;
  DueRange& range = queue.due(head.due_by);
  range.next_us = std::min(range.next_us, head.due_us);
  state.expect_due(head.due_us, head.due_by);
  const std::pair at{head.due_us, head.place};
  range.scheduled.emplace(at, std::move(head));
  ++state.scheduled;
  return true;
}

Pending::Moved& move_message(State& state, Queue& queue, MoveMessage move) {
  const Place place = move.place;
  const SegmentKey key{place.queue, move.lane, place.segment};
  const Source source = move.source;
  const bool dead = move.dead;
  // Attempts end (promise 4): a message that has made its last one is dead.
  // RULE: attempts_end
  WEIR_ASSERT(dead || !move.attempt || move.attempts < queue.policy.attempts, key.queue, key.segment, place.index,
              move.attempts, queue.policy.attempts);
  state.gathering.moved.push_back({place, dead ? 0 : move.at_us});
  state.gathering.writes.emplace_back(std::move(move));
  queue.loaded.insert(place);
  state.changed(queue);
  if (source == Source::segment) {
    needs_segment(state, key);
    settle_bits(state, queue, key, find_segment(queue, key), {place.index, place.index + 1});
    if (!dead) queue.records += Messages{1};
  } else if (dead) {
    queue.records -= Messages{1};
  }
  if (dead) {
    queue.dead += Messages{1};
    if (queue.dead_untold.value == 0) queue.dead_untold_first = place;
    queue.dead_untold += Messages{1};
  }
  return state.gathering.moved.back();
}

void settle_bits(State& state, Queue& queue, const SegmentKey& key, Segment& segment, MessageRange messages) {
  segment.settled.set(messages.first, messages.last);
  segment.taken.set(messages.first, messages.last);
  state.changed(key);
  if (segment.ahead && segment.finished()) settled_ahead(state, queue, key);
}

void records_tick(Turn& turn) {
  const bool housekeeping = turn.now.instant >= turn.state.next_housekeeping;
  if (housekeeping) turn.state.next_housekeeping = turn.now.instant + housekeeping_every;
  turn.state.due_next_us.fill(std::numeric_limits<std::int64_t>::max());
  for (const auto& [id, queue] : turn.state.queues) {
    if (housekeeping) {
      bury_unknown(turn, *queue);
      trim_dead(turn, *queue);
      tell_dead(*queue, turn.actions);
      tell_damaged(*queue, turn.actions);
      windows_tick(turn.state, *queue, turn.actions);
    }
    const auto is_due = [&](DueBy by) {
      return queue->records.value > 0 && queue->due(by).next_us <= turn.state.time_us(turn.now, by);
    };
    const bool due = std::ranges::any_of(due_clocks, is_due);
    const bool woken = queue->paused_until && turn.now.instant >= *queue->paused_until;
    if (due) load_due(turn.state, turn.now, *queue);
    if (due || woken || housekeeping) dispatch(turn, *queue);
    // Full: due records are loaded when some are taken, not by time, which would turn the loop for nothing.
    const bool full = queue->ready_records.size() >= ready_records_most;
    for (const DueBy by : due_clocks) {
      if (queue->records.value > 0 && !(full && is_due(by))) turn.state.expect_due(queue->due(by).next_us, by);
    }
  }
  if (!housekeeping) return;
  // Gives away room that earlier shares left, and that no settlement gives away.
  for (auto& [token, process] : turn.state.processes) {
    for (auto& [shard, worker] : process.workers) {
      if (worker->attached.size() > 1) dispatch_waiting(turn, *worker);
    }
  }
  compaction_tick(turn.state, turn.now);
}

}  // namespace weir::broker::core
