// Looking: lists of queues and workers, for people. States are derived here, by counting what there is.
// RULE: states_are_derived
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// A session that has credit while its queue has work should be sent something within this.
constexpr Duration consuming_within = std::chrono::seconds(2);
/// A shard whose handler has not let its loop turn for this long consumes nothing.
constexpr Duration turns_within = std::chrono::seconds(1);
/// The most that a page may cost: rows; segments that are counted; and queues of the workers that it lists.
constexpr std::uint32_t page_rows_most = 1000;
constexpr std::size_t page_segments_most = 16'384;
constexpr std::size_t page_queues_most = 4096;
constexpr std::size_t records_looked_at_most = 64;
/// The most segments per page that are looked at message by message, as some of their types are known and some are not.
/// Unknown messages beyond them are not counted.
constexpr int mixed_most = 256;

struct States {
  std::uint64_t ready{}, delayed{}, leased{}, unknown{}, suspects{};
};

/// True if an attached worker knows the type, or if no worker is attached.
bool known(const Queue& queue, const std::string& type) {
  return queue.attached.empty() ||
         std::ranges::any_of(queue.attached, [&](Worker* worker) { return knows(*worker->attachment(&queue), type); });
}

/// Ready messages of a segment whose type is one of `wanted`, which has a flag for each place of the segment's types.
std::uint32_t ready_of(const Segment& segment, const std::vector<bool>& wanted) {
  std::uint32_t n = 0;
  for (auto i = segment.taken.next_clear(0); i < segment.count; i = segment.taken.next_clear(i + 1)) {
    if (wanted[segment.type(i)]) ++n;
  }
  return n;
}

/// Ready messages of a segment whose type no attached worker knows.
std::uint32_t unknown_of(State& state, const Queue& queue, const SegmentKey& key, Segment& segment, int& mixed_left) {
  const std::uint32_t free = segment.count - segment.taken.count();
  if (free == 0 || queue.attached.empty()) return 0;
  const auto& types = state.type_sets.types(segment.types);
  std::vector<bool> unknown(types.size());
  std::transform(types.begin(), types.end(), unknown.begin(),
                 [&](const std::string& type) { return !known(queue, type); });
  const auto n = std::ranges::count(unknown, true);
  if (n == 0) return 0;
  if (n == std::ssize(unknown)) return free;
  if (mixed_left-- <= 0 || !load(state, key, segment)) return 0;
  return ready_of(segment, unknown);
}

/// Leased records of a queue, and how many of them are suspects.
struct LeasedRecords {
  std::uint64_t all{}, suspects{};
};
using LeasedByQueue = std::map<QueueId, LeasedRecords>;

/// Counts leased records in one pass over all leases, for all queues of a page.
LeasedByQueue leased_records(const State& state) {
  LeasedByQueue leased;
  for (const auto& [number, worker] : state.workers_by_number) {
    for (const auto& [lease, run] : worker->leases) {
      if (run.source != Source::record) continue;
      LeasedRecords& of = leased[run.key.queue];
      ++of.all;
      if (run.record && run.record->suspicion != v1::UNSUSPECTED) ++of.suspects;
    }
  }
  return leased;
}

States count(State& state, Queue& queue, const LeasedRecords& leased, int& mixed_left) {
  States states;
  for (Lane lane = 0; lane < lanes_most; ++lane) {
    for (auto& [number, segment] : queue.lanes[lane].segments) {
      states.unknown += unknown_of(state, queue, {queue.id, lane, number}, segment, mixed_left);
      states.leased += segment.taken.count() - segment.settled.count() - segment.aside;
    }
  }
  for (const auto& record : queue.ready_records) {
    if (!known(queue, record.type)) ++states.unknown;
  }
  std::uint64_t waiting = queue.ready_records.size();  // records that are due
  states.suspects = leased.suspects;
  for (const auto& [suspicion, heads] : queue.suspects) {
    waiting += heads.size();
    states.suspects += heads.size();
    for (const auto& head : heads) {
      if (!known(queue, head.type)) ++states.unknown;
    }
  }
  states.leased += leased.all;
  states.delayed = queue.records.value - waiting - leased.all;
  // Live messages are not gone or dead. Those neither leased nor delayed are ready, or will be with this commit.
  states.ready = queue.live.messages.value - states.leased - states.delayed;
  return states;
}

/// What looking at a queue costs, in segments.
std::size_t effort(const Queue& queue) {
  std::size_t segments = 1 + queue.ready_records.size();
  for (const auto& lane : queue.lanes) segments += lane.segments.size();
  return segments;
}

void describe(State& state, Queue& queue, const LeasedByQueue& leased, int& mixed_left, v1::Queues::Queue& one) {
  const auto records = leased.find(queue.id);
  const States states = count(state, queue, records == leased.end() ? LeasedRecords{} : records->second, mixed_left);
  one.set_name(queue.name);
  one.set_id(queue.id);
  one.set_in_file(queue.in_file);
  one.set_leased(states.leased);
  one.set_unknown(states.unknown);
  one.set_suspects(states.suspects);
  one.set_delayed(states.delayed);
  one.set_ready(states.ready);
  one.set_dead(queue.dead.value);
  one.set_damaged(queue.damaged.value);
  one.set_published(queue.state.published());
  one.set_acked(queue.state.acked());
  one.set_retried(queue.state.retried());
  one.set_rejected(queue.state.rejected());
  one.set_dead_lettered(queue.state.dead_lettered());
  one.set_bytes(queue.live.bytes.value);
  one.set_workers(static_cast<std::uint32_t>(queue.attached.size()));
  one.set_publishers(static_cast<std::uint32_t>(queue.windows.size()));
}

/// True if a segment whose types the session knows in part has a message for it.
bool some_wait_for(State& state, const Attached& attached, Lane lane, TypeSet types, int& mixed_left) {
  LaneState& the_lane = attached.queue->lanes[lane];
  const auto& names = state.type_sets.types(types);
  std::vector<bool> wanted(names.size());
  std::transform(names.begin(), names.end(), wanted.begin(),
                 [&](const std::string& name) { return knows(attached, name); });
  for (const SegmentNumber number : the_lane.ready.at(types)) {
    if (mixed_left-- <= 0) return true;  // no more is looked at: it is taken to have one
    Segment& segment = the_lane.segments.at(number);
    if (load(state, {attached.queue->id, lane, number}, segment) && ready_of(segment, wanted) > 0) return true;
  }
  return false;
}

/// True if something may be delivered to this session: it is ready, and of a type that the session knows.
bool waits_for(State& state, Attached& attached, int& mixed_left) {
  Queue& queue = *attached.queue;
  if (has_ahead(state, queue)) return true;
  for (Lane lane = 0; lane < lanes_most; ++lane) {
    for (const auto& [types, ready] : queue.lanes[lane].ready) {
      if (ready.empty()) continue;
      const auto matches = match(state, attached, types);
      if (matches == Attached::Match::all) return true;
      if (matches == Attached::Match::some && some_wait_for(state, attached, lane, types, mixed_left)) return true;
    }
  }
  const std::size_t looked_at = std::min(queue.ready_records.size(), records_looked_at_most);
  return std::any_of(queue.ready_records.begin(), queue.ready_records.begin() + static_cast<std::ptrdiff_t>(looked_at),
                     [&](const RecordHead& head) { return knows(attached, head.type); });
}

void describe(State& state, Now now, Worker& worker, int& mixed_left, v1::Workers::Worker& one) {
  const Process& process = *worker.process;
  one.set_group(worker.group);
  one.set_host(worker.host);
  one.set_pid(worker.pid);
  one.set_shard(worker.shard);
  one.set_build(worker.build);
  bool waiting = false;
  for (auto& attached : worker.attached) {
    one.add_queues(attached.queue->name);
    waiting = waiting || waits_for(state, attached, mixed_left);
  }
  one.set_window_messages(worker.window.messages.value);
  one.set_window_bytes(worker.window.bytes.value);
  one.set_held_messages(worker.outstanding.messages.value);
  one.set_held_bytes(worker.outstanding.bytes.value);
  const Duration unseen = now.instant - process.last_seen;
  // Two keep-alives are missing. (After a whole session timeout the session ends, and is not listed.)
  const bool alive = unseen < state.config.session_timeout / 2;
  one.set_alive(alive);
  one.set_connected(worker.connection != 0);
  const bool sent = now.instant - worker.last_sent < consuming_within || worker.outstanding.messages.value > 0;
  const auto shown = process.shards.find(worker.shard);
  const bool turns = alive && (shown == process.shards.end() ||
                               Duration{static_cast<Duration::rep>(shown->second.since_turn_us())} < turns_within);
  one.set_consuming(worker.connection != 0 && worker.window.messages.value > 0 && turns && (sent || !waiting));
  one.set_last_seen_us(static_cast<std::uint64_t>(std::max<std::int64_t>(0, unseen.count())));
  if (shown == process.shards.end()) return;
  one.set_since_turn_us(shown->second.since_turn_us());
  one.set_running(shown->second.running());
  one.set_stuck(shown->second.stuck());
}

/// The most rows of a page.
int rows(std::uint32_t wanted) {
  return static_cast<int>(wanted == 0 ? page_rows_most : std::min(wanted, page_rows_most));
}

}  // namespace

void describe_queues(State& state, const v1::ListQueues& wanted, v1::Queues& page) {
  const auto after = state.queues_by_name.find(wanted.after());
  auto at = after == state.queues_by_name.end() ? state.queues.begin() : state.queues.upper_bound(after->second->id);
  const LeasedByQueue leased = leased_records(state);
  const int most = page.queues_size() + rows(wanted.most());
  int mixed_left = mixed_most;
  for (std::size_t looked_at = 0; at != state.queues.end() && page.queues_size() < most; ++at) {
    Queue& queue = *at->second;
    looked_at += effort(queue);
    describe(state, queue, leased, mixed_left, *page.add_queues());
    if (looked_at >= page_segments_most) {
      ++at;
      break;
    }
  }
  if (at != state.queues.end()) page.set_next(page.queues(page.queues_size() - 1).name());
}

void describe_workers(State& state, Now now, const v1::ListWorkers& wanted, v1::Workers& page) {
  auto at = state.workers_by_number.upper_bound(wanted.after());
  const int most = page.workers_size() + rows(wanted.most());
  std::uint64_t last = 0;
  int mixed_left = mixed_most;
  for (std::size_t queues = 0; at != state.workers_by_number.end() && page.workers_size() < most; ++at) {
    if (queues >= page_queues_most) break;
    Worker& worker = *at->second;
    queues += 1 + worker.attached.size();
    describe(state, now, worker, mixed_left, *page.add_workers());
    last = at->first;
  }
  if (at != state.workers_by_number.end()) page.set_next(last);
}

}  // namespace weir::broker::core
