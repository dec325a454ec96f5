#include "weir/broker/core/core.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {

namespace {

/// Begins every call.
Turn begin(State& state, Now now, Actions& actions) {
  state.called_at = now.instant;
  state.effort.refill(state.config.effort_ns);
  return {state, now, actions};
}

}  // namespace

Core::Core(Config config, Recovered recovered, Store& store, Now now)
    : state_(std::make_unique<State>(std::move(config), store)) {
  recover(*state_, now, std::move(recovered));
}

Core::~Core() = default;

void Core::frame(Now now, Connection from, const v1::Frame& head, const Slice& run, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  const bool first = state_->gathering.empty();
  on_frame(turn, from, head, run);
  if (first) state_->gathering.since = now.instant;
}

void Core::malformed(Now now, Connection from, const protocol::ProtocolError& error, Actions& actions) {
  begin(*state_, now, actions);
  if (!state_->ended.contains(from)) refuse(*state_, from, error.code, error.message, true, actions);
}

void Core::disconnected(Now now, Connection from, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  on_disconnected(turn, from);
}

void Core::tick(Now now, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  wall_tick(turn);
  sessions_tick(turn);
  sharing_tick(*state_, actions);
  recovery_tick(turn);
  controls_tick(turn);
  trials_tick(turn);
  recalls_tick(turn);
  records_tick(turn);
  state_->last_turn = now.instant;
  state_->last_wall_us = micros(now.wall);
}

void Core::read(Now now, Connection by, Bytes bytes, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  on_read(turn, by, bytes);
}

bool Core::has_work() const { return core::has_work(*state_); }

void Core::go_on(Now now, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  const bool first = state_->gathering.empty();
  core::go_on(turn);
  if (first) state_->gathering.since = now.instant;
}

Instant Core::next_tick() const {
  if (!state_->to_beat.empty()) return state_->last_turn;
  // Twice within the time that counts as having been away (sessions_tick). An idle broker that wakes only for its beats
  // would take itself for one that was stopped, and would never end a session.
  Instant next =
      std::min({state_->next_beat, state_->next_housekeeping, state_->next_control, state_->next_recall,
                state_->next_trial, state_->share_next, state_->last_turn + state_->config.session_timeout / 8});
  const Now last{state_->last_turn, WallTime{Duration{state_->last_wall_us}}};
  for (const DueBy by : due_clocks) {
    const std::int64_t due_us = state_->due_next_us[static_cast<std::size_t>(by)];
    if (due_us == std::numeric_limits<std::int64_t>::max()) continue;
    next = std::min(next, last.instant + Duration{std::max<std::int64_t>(0, due_us - state_->time_us(last, by))});
  }
  return next;
}

bool Core::wants_commit() const { return !state_->gathering.empty(); }

Instant Core::commit_due() const { return core::commit_due(*state_); }

Batch Core::seal(Now now) { return core::seal(*state_, now); }

void Core::committed(Now now, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  on_committed(turn);
}

void Core::undelivered(Now now, Connection to, const std::vector<Piece>& pieces, Actions& actions) {
  Turn turn = begin(*state_, now, actions);
  on_undelivered(turn, to, pieces);
}

void Core::damaged(const std::vector<Damage>& all) { on_damaged(*state_, all); }

void Core::room(Now now, bool enough, Actions& actions) {
  begin(*state_, now, actions);
  if (state_->room == enough) return;
  state_->room = enough;
  for (const auto& [id, queue] : state_->queues) {
    queue->shared_at = Instant::min();  // at once, however many windows there are
    share_room(*state_, *queue, actions);
  }
}

void Core::list_queues(const v1::ListQueues& wanted, v1::Queues& page) const { describe_queues(*state_, wanted, page); }

void Core::list_workers(Now now, const v1::ListWorkers& wanted, v1::Workers& page) const {
  describe_workers(*state_, now, wanted, page);
}

void Core::list_queues(v1::Queues& all) const {
  v1::ListQueues wanted;
  do {
    list_queues(wanted, all);
    wanted.set_after(std::exchange(*all.mutable_next(), {}));
  } while (!wanted.after().empty());
}

void Core::list_workers(Now now, v1::Workers& all) const {
  v1::ListWorkers wanted;
  do {
    list_workers(now, wanted, all);
    wanted.set_after(all.next());
    all.clear_next();
  } while (wanted.after() != 0);
}

std::optional<QueueId> Core::queue_id(std::string_view name) const {
  const auto at = state_->queues_by_name.find(name);
  if (at == state_->queues_by_name.end()) return std::nullopt;
  return at->second->id;
}

std::string Core::queue_name(QueueId id) const {
  const Queue* queue = state_->find_queue(id);
  return queue != nullptr ? queue->name : "queue " + std::to_string(id);
}

std::vector<std::string> Core::queue_names() const {
  std::vector<std::string> names;
  for (const auto& [name, queue] : state_->queues_by_name) names.push_back(name);
  return names;
}

namespace {

/// Takes those of `places` that are still dead letters, each once. `each` gets its queue and its encoded record. A
/// damaged one is taken only to be purged, and has no record.
template <class Each>
std::uint64_t take_dead(State& state, const std::vector<Place>& places, bool damaged_too, Each each) {
  std::uint64_t taken = 0;
  const auto snapshot = state.store.snapshot();
  for (const Place& place : places) {
    Queue* queue = state.find_queue(place.queue);
    if (queue == nullptr) continue;
    const auto record = snapshot->dead(place);
    if (!record) {
      if (!snapshot->has_dead(place)) continue;
      found_damaged(*queue, place);
      if (!damaged_too) continue;
    }
    // Loaded: an earlier request has it already.
    if (!queue->loaded.insert(place).second) continue;
    queue->dead -= Messages{1};
    each(*queue, place, record.value_or(std::string_view{}));
    ++taken;
  }
  return taken;
}

void reply_count(State& state, Connection from, std::uint64_t request, std::uint64_t messages) {
  if (from == 0) return;
  v1::ControlReply reply;
  reply.set_id(request);
  reply.mutable_count()->set_messages(messages);
  state.gathering.replies.push_back({from, std::move(reply)});
}

}  // namespace

std::uint64_t Core::replay_dead(Now now, Connection from, std::uint64_t request, const std::vector<Place>& places,
                                Actions&) {
  Pending& pending = state_->gathering;
  const std::int64_t due = state_->clock_us(now.instant);
  const auto taken = take_dead(*state_, places, false, [&](Queue& queue, const Place& place, std::string_view bytes) {
    // The body, the last field, is found without a copy: a page of dead letters may be gigabytes.
    const auto record = protocol::decode_body(bytes);
    const std::size_t body = record ? record->payload.size() : 0;
    pending.writes.emplace_back(ReplayDead{place, due});
    pending.moved.push_back({place, due});
    queue.live += Load{Messages{1}, Bytes{body}};
    queue.records += Messages{1};
  });
  reply_count(*state_, from, request, taken);
  return taken;
}

std::uint64_t Core::purge_dead(Now, Connection from, std::uint64_t request, const std::vector<Place>& places,
                               Actions&) {
  Pending& pending = state_->gathering;
  const auto taken = take_dead(*state_, places, true, [&](Queue&, const Place& place, std::string_view) {
    pending.writes.emplace_back(DropDead{place});
    pending.moved.push_back({place, 0});
  });
  reply_count(*state_, from, request, taken);
  return taken;
}

void Core::reply(Connection to, v1::ControlReply reply, Actions& actions) {
  v1::Frame frame;
  *frame.mutable_control_reply() = std::move(reply);
  send(*state_, to, std::move(frame), actions);
}

}  // namespace weir::broker::core
