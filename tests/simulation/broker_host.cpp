// The broker's loop: frames in, turns, actions out.
#include "broker_host.hpp"

#include <utility>

#include "weir/engine/memory/delivery.hpp"
#include "weir/protocol/bounds.hpp"

namespace weir::simulation {
namespace {

constexpr std::int64_t tick_least_us = 1000;
constexpr std::int64_t look_every_us = 25'000;
/// A publisher's mark is kept for an hour, by the broker's own time.
constexpr std::int64_t forgotten_after_us = 45LL * 60 * 1'000'000;

BrokerEvent event_of(const v1::Frame& head) {
  switch (head.body_case()) {
    case v1::Frame::kHello:
      return BrokerEvent::hello;
    case v1::Frame::kPublish:
      return BrokerEvent::publish;
    case v1::Frame::kSettle:
      return BrokerEvent::settle;
    case v1::Frame::kWindow:
      return BrokerEvent::window;
    case v1::Frame::kKeepAlive:
      return BrokerEvent::keep_alive;
    case v1::Frame::kGoodbye:
      return BrokerEvent::goodbye;
    case v1::Frame::kDeath:
      return BrokerEvent::death;
    case v1::Frame::kInterest:
      return BrokerEvent::interest;
    default:
      return BrokerEvent::other;
  }
}

/// What only our own defects can cause in these runs.
bool is_our_fault(v1::Error::Code code) {
  switch (code) {
    case v1::Error::OUT_OF_SEQUENCE:  // a repeated frame, or one of a session that has ended
    case v1::Error::REPLACED:
    case v1::Error::UNKNOWN_TOKEN:
      return false;
    default:
      return true;
  }
}

/// A frame in one line, without what is the same in all of them.
std::string readable(const v1::Frame& frame) {
  v1::Frame shown = frame;
  if (shown.has_welcome()) shown.mutable_welcome()->clear_queues();
  if (shown.has_hello()) {
    shown.mutable_hello()->clear_process_token();
    shown.mutable_hello()->clear_publisher();
  }
  return shown.ShortDebugString();
}

}  // namespace

std::vector<const char*> broker_events() {
  return {"hello",    "publish",     "settle",      "window", "keep_alive", "goodbye", "death",
          "interest", "other",       "unreachable", "sealed", "full",       "low",     "written",
          "told",     "sync_failed", "crashed",     "paused", "replayed",   "purged"};
}

BrokerHost::BrokerHost(Stage& stage, Network& network, Clients& clients)
    : stage_(stage),
      network_(network),
      clients_(clients),
      random_(stage.scenario.seed, 3),
      copies_(stage.scenario.seed, 19) {
  began(0, true);
}
BrokerHost::~BrokerHost() = default;

void BrokerHost::note_event(BrokerEvent event) {
  BrokerState state = BrokerState::quiet;
  if (core_ == nullptr) {
    state = BrokerState::down;
  } else if (stage_.clock.now_us < full_until_us_) {
    state = BrokerState::full;
  } else if (!recovered_) {
    state = BrokerState::recovering;
  } else if (writing_) {
    state = BrokerState::committing;
  }
  stage_.broker_coverage.hit(static_cast<std::size_t>(state), static_cast<std::size_t>(event));
}

void BrokerHost::start() {
  core::Config config;
  config.build = "simulation";
  config.queues = stage_.scenario.queues;
  config.session_timeout = stage_.scenario.session_timeout;
  config.publisher_window = stage_.scenario.publisher_window;
  config.compaction = stage_.scenario.compaction;
  ++clients_.broker_life;
  Random bounds(stage_.scenario.seed, 600);
  looks_who_read_ = bounds.percent(30);
  if (looks_who_read_) config.unread_most = Bytes{static_cast<std::uint64_t>(bounds.between(100, 4000))};
  config.effort_ns = stage_.scenario.effort_ns;
  config.seed = Random(stage_.scenario.seed, 500 + life()).next() | 1;
  StartId start;
  Random bits(stage_.scenario.seed, 11'000 + life());
  for (auto& byte : start.bytes) byte = static_cast<unsigned char>(bits.next());
  store_.starts_as(start);
  core::Recovered recovered = store_.recover();
  recovered_ = recovered.sessions.empty();
  incarnation_ = recovered.incarnation;
  stage_.say("broker", "starts, incarnation %u, waits for %zu sessions", recovered.incarnation,
             recovered.sessions.size());
  core::Recovered seen;  // the core takes the rest
  seen.incarnation = recovered.incarnation;
  seen.sessions = recovered.sessions;
  core_ = std::make_unique<core::Core>(std::move(config), std::move(recovered), store_, stage_.clock.now());
  clients_.broker_listens = true;
  actions_.clear();
  turn_at_us_ = std::numeric_limits<std::int64_t>::max();
  ticked_ = stage_.clock.instant() - Duration{tick_least_us};
  stage_.ledger.broker_started(seen, queues());
  room_ = true;
  look_at_room();
  will_turn(0);
}

void BrokerHost::crash(const char* why) {
  if (core_ == nullptr) return;
  note_event(BrokerEvent::crashed);
  if (writing_ && !written_) {
    const bool kept = random_.percent(50);
    stage_.say("broker", "dies (%s); commit %llu is %s", why, static_cast<unsigned long long>(writing_->number),
               kept ? "on disk" : "lost");
    if (kept) {
      store_.commit(*writing_);
      stage_.ledger.durable(*writing_, *store_.snapshot());
    }
  } else {
    stage_.say("broker", "dies (%s)", why);
  }
  writing_.reset();
  written_ = sync_fails_ = false;
  core_.reset();
  actions_.clear();
  unreachable_.clear();
  unread_.clear();
  paused_until_us_ = 0;
  clients_.broker_listens = false;
  network_.cut_all(life());
}

void BrokerHost::pause(std::int64_t for_us) {
  note_event(BrokerEvent::paused);
  stage_.ledger.broker_pauses();
  if (paused_until_us_ <= stage_.clock.now_us) paused_since_us_ = stage_.clock.now_us;
  paused_until_us_ = std::max(paused_until_us_, stage_.clock.now_us + for_us);
  stage_.agenda.add(paused_until_us_, EventKind::broker_turn, 1, life());
}

void BrokerHost::resume() {
  if (paused_until_us_ == 0 || paused_until_us_ > stage_.clock.now_us) return;  // it is over, or was made longer
  // A gap of its own: the broker gives all fresh time.
  if (stage_.clock.now_us - paused_since_us_ > stage_.scenario.session_timeout.count() / 4) {
    stage_.ledger.broker_resumed();
  }
  paused_until_us_ = 0;
}

void BrokerHost::frame(const Event& event) {
  Line& line = network_.line(event.a);
  std::string bytes;
  if (!network_.arrive(event, true, bytes)) return;
  if (core_ == nullptr || line.life != life() || line.refused) return;
  Endpoint& from = *clients_.all[line.endpoint];
  const std::size_t before = actions_.size();
  Slice frame = Slice::of(std::move(bytes));
  const auto run = protocol::decode_bounded(frame.bytes, head_);
  if (!run) throw Broken("clients_that_keep_the_rules_are_not_refused", from.name() + ": " + run.error().message);
  note_event(event_of(head_));
  if (stage_.trace) {
    const bool is_dull = head_.has_keep_alive();
    stage_.say("broker", "line %u, %s: %s", event.a, from.name().c_str(),
               is_dull ? "keep-alive" : readable(head_).c_str());
  }
  if (head_.has_hello()) {
    for (const auto* claims : {&head_.hello().held(), &head_.hello().settled()}) {
      for (const auto& claim : *claims) line.claims_old_leases |= claim.incarnation() < incarnation_;
    }
    line.hello_in_parts |= head_.hello().more();
    if (from.worker != nobody) stage_.ledger.names_settled(from.worker, head_.hello());
    if (from.worker != nobody && !line.hello_in_parts) stage_.ledger.claimed(from.worker, head_.hello());
  }
  if (head_.has_hello()) heard_hello(line, from);
  if (head_.has_publish() && !doubted_.contains(line.endpoint)) heard_us_[line.endpoint] = stage_.clock.now_us;
  if (head_.has_publish()) stage_.ledger.numbered(head_.publish(), *run);
  core_->frame(stage_.clock.now(), event.a, head_, frame.sub(frame.bytes.size() - run->size(), run->size()), actions_);
  bool ended = false;
  for (std::size_t i = before; i < actions_.size(); ++i) {
    const auto* close = std::get_if<core::Close>(&actions_[i]);
    ended = ended || (close != nullptr && close->connection == event.a);
  }
  note_welcomes(before);
  if (!ended && from.process() != nobody) stage_.ledger.heard(from.process());
  will_turn(random_.between(0, 200));
}

void BrokerHost::note_welcomes(std::size_t from) {
  for (std::size_t i = from; i < actions_.size(); ++i) {
    const auto* send = std::get_if<core::Send>(&actions_[i]);
    if (send == nullptr || !send->frame.has_welcome()) continue;
    const Endpoint& to = *clients_.all[network_.line(static_cast<LineId>(send->to)).endpoint];
    if (to.worker != nobody) stage_.ledger.attached(to.worker);
  }
}

void BrokerHost::will_turn(std::int64_t after_us) {
  const std::int64_t at = stage_.clock.now_us + after_us;
  if (at >= turn_at_us_) return;
  turn_at_us_ = at;
  stage_.agenda.add(at, EventKind::broker_turn, 0, life(), ++turns_planned_);
}

void BrokerHost::turn() {
  turn_at_us_ = std::numeric_limits<std::int64_t>::max();
  const Now now = stage_.clock.now();
  if (core_->next_tick() <= now.instant && now.instant - ticked_ >= Duration{tick_least_us}) {
    ticked_ = now.instant;
    core_->tick(now, actions_);
  }
  look_who_read();
  if (core_->has_work()) core_->go_on(now, actions_);
  note_welcomes(0);
  carry_out();
  if (core_ == nullptr) return;
  commit_if_wanted();
  look_at_room();
  Instant next = std::max(core_->next_tick(), ticked_ + Duration{tick_least_us});
  if (!writing_) next = std::min(next, core_->commit_due());
  will_turn(std::max<std::int64_t>(0, (next - now.instant).count()));
  if (core_->has_work()) will_turn(random_.between(0, 200));
  if (!unread_.empty()) will_turn(look_every_us);
}

void BrokerHost::look_who_read() {
  for (auto at = unread_.begin(); at != unread_.end();) {
    Line& line = network_.line(*at);
    if (line.read > 0) core_->read(stage_.clock.now(), *at, Bytes{std::exchange(line.read, 0)}, actions_);
    at = line.down.empty() || line.refused || line.reset ? unread_.erase(at) : std::next(at);
  }
}

void BrokerHost::carry_out() {
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    core::Action action = std::move(actions_[i]);
    std::visit([this](auto& one) { carry_out(one); }, action);
  }
  actions_.clear();
  for (const LineId line : std::exchange(unreachable_, {})) {
    note_event(BrokerEvent::unreachable_client);
    core_->disconnected(stage_.clock.now(), line, actions_);
  }
  if (!actions_.empty()) will_turn(0);
}

void BrokerHost::unreachable(LineId id) {
  if (!network_.line(id).refused) {
    network_.line(id).refused = true;
    unreachable_.push_back(id);
  }
}

void BrokerHost::carry_out(core::Send& send) {
  const auto id = static_cast<LineId>(send.to);
  Line& line = network_.line(id);
  if (line.refused) return;
  const v1::Frame& frame = send.frame;
  if (frame.has_error() && is_our_fault(frame.error().code())) {
    throw Broken("clients_that_keep_the_rules_are_not_refused",
                 clients_.all[line.endpoint]->name() + ": " + frame.error().message());
  }
  if (frame.has_welcome()) check_welcome(line, frame.welcome());
  if (frame.has_welcome() && !frame.welcome().publisher_known() && !line.of_another_store) {
    const auto heard = heard_us_.find(line.endpoint);
    if (heard != heard_us_.end() && stage_.clock.now_us - heard->second < forgotten_after_us) {
      throw Broken("known_while_it_is_there",
                   clients_.all[line.endpoint]->name() + " is told that it was forgotten; a broker heard it " +
                       std::to_string((stage_.clock.now_us - heard->second) / 1'000'000) + " s ago");
    }
  }
  if (frame.has_welcome() && line.claims_old_leases) {
    for (const auto& claim : frame.welcome().claims()) {
      if (!claim.stale()) stage_.ledger.claims_granted(clients_.all[line.endpoint]->worker);
    }
  }
  // Who was told so is known again once its new mark is on disk.
  if (frame.has_welcome() && !frame.welcome().publisher_known()) {
    doubted_.insert(line.endpoint);
    heard_us_.erase(line.endpoint);
  }
  if (frame.has_confirmed()) doubted_.erase(line.endpoint);
  if (frame.has_window() && !room_ && frame.window().messages() > 0) {
    throw Broken("a_disk_low_on_room_takes_no_publishes",
                 clients_.all[line.endpoint]->name() + " is given credit, and the store is low on room");
  }
  if (frame.has_confirmed()) stage_.ledger.says_confirmed(frame.confirmed());
  if (stage_.trace && !frame.has_beat()) {
    stage_.say("broker", "to line %u, %s: %s", id, clients_.all[line.endpoint]->name().c_str(),
               readable(frame).c_str());
  }
  if (line.reset) return unreachable(id);
  network_.send_down(id, protocol::encode(frame));
}

void BrokerHost::carry_out(core::SendDelivery& send) {
  const auto id = static_cast<LineId>(send.to);
  Line& line = network_.line(id);
  const Endpoint& to = *clients_.all[line.endpoint];
  for (const auto& piece : send.pieces) {
    stage_.say("broker", "to line %u, %s: delivers %u/%llx.%u and %u more, lease %llu, attempt %u%s", id,
               to.name().c_str(), piece.key.queue, static_cast<unsigned long long>(piece.key.segment), piece.first,
               piece.count - 1, static_cast<unsigned long long>(piece.lease), piece.attempt,
               piece.ahead ? ", ahead" : "");
    if (piece.ahead && !room_) {
      throw Broken("ahead_only_where_allowed", "the store is low on room, and something is delivered ahead");
    }
    stage_.ledger.granted(to.worker, piece);
  }
  if (line.refused) return;
  if (line.reset) return unreachable(id);
  const auto snapshot = store_.snapshot();
  network_.send_down(id, engine::memory::deliver_frame(send, *snapshot));
  if (looks_who_read_) unread_.insert(id);
}

void BrokerHost::carry_out(core::Close& close) { network_.line(static_cast<LineId>(close.connection)).refused = true; }

void BrokerHost::carry_out(core::Note& note) {
  if (note.event == "sessions_recovered") recovered_ = true;
  if (note.event == "store_value_damaged") {
    throw Broken("a_sound_disk_is_not_found_damaged",
                 "the core set something aside, and the disk has it as it was written");
  }
  if (!stage_.trace) return;
  std::string fields;
  for (const auto& [name, value] : note.fields) fields += ' ' + name + '=' + value;
  stage_.say("broker", "notes %s%s", note.event.c_str(), fields.c_str());
}

v1::Queues BrokerHost::queues() const {
  v1::Queues queues;
  core_->list_queues(queues);
  return queues;
}

void BrokerHost::check_end() const {
  v1::Workers workers;
  core_->list_workers(stage_.clock.now(), workers);
  stage_.ledger.check_end(queues(), workers);
}

void BrokerHost::replay(const std::vector<Place>& places) {
  if (core_ == nullptr) return;
  note_event(BrokerEvent::replayed);
  for (const Place& place : places) stage_.ledger.asked_for_replay(place);
  core_->replay_dead(stage_.clock.now(), 0, 0, places, actions_);
  will_turn(0);
}

void BrokerHost::purge(const std::vector<Place>& places) {
  if (core_ == nullptr) return;
  note_event(BrokerEvent::purged);
  for (const Place& place : places) stage_.ledger.asked_for_purge(place);
  core_->purge_dead(stage_.clock.now(), 0, 0, places, actions_);
  will_turn(0);
}

}  // namespace weir::simulation
