#include "shard.hpp"

#include <algorithm>
#include <utility>

#include "outcomes.hpp"

namespace weir::simulation {

Shard::Shard(Stage& stage, Network& network, Clients& clients, std::string name, ProcessId process,
             engine::SessionOptions options)
    : Endpoint(stage, network, clients, std::move(name), process),
      options_(options),
      machine_(client_settings(stage, number()), std::move(options)),
      running_(options_.window.messages.value),
      random_(stage.scenario.seed, 2000 + number()) {
  worker = stage_.ledger.worker_started(process, options_);
}

void Shard::changed() {
  if (stage_.healed || stage_.scenario.take_us.high == 0) return take();
  will_turn(stage_.scenario.take_us.high);
}

void Shard::take() {
  // What waited while it was cut off may have been sent again since its HELLO: which of the two it takes must be known.
  if (stage_.scenario.take_us.high > 0 && !machine_.is_up()) return;
  while (auto batch = machine_.take(stage_.clock.instant())) {
    for (const engine::Ticket ticket : batch->lost) {
      Running& lost = running_[ticket];
      if (!lost.running) continue;
      stage_.say(name().c_str(), "is told that message %u is lost", lost.uid);
      stage_.ledger.told_lost(lost.holding);
      lost.running = false;
      std::erase(ended_, ticket);
    }
    for (const engine::Batch::Recall& recall : batch->recalls) give_back(recall);
    // Neighbours often take as long, and are settled as one run.
    const std::int64_t takes = within(random_, stage_.scenario.handler_us);
    for (const engine::Delivery& delivery : batch->deliveries) begin(delivery, takes);
    check_window();
  }
}

/// What has not ended is as good as not started; but a poison, which has a plan of its own.
void Shard::give_back(const engine::Batch::Recall& recall) {
  stage_.say(name().c_str(), "is asked for %u messages back", static_cast<unsigned>(recall.messages));
  std::uint64_t left = recall.messages;
  for (engine::Ticket ticket = 0; ticket < running_.size() && left > 0; ++ticket) {
    Running& one = running_[ticket];
    if (!one.running || one.ended || one.queue != recall.queue || one.poison != Poison::none) continue;
    --left;
    one.outcome = Outcome::release;
    one.outputs = 0;
    handler_end(ticket, one.holding);
  }
}

void Shard::check_window() const {
  Load load;
  for (const Running& one : running_) {
    if (one.running) load += {Messages{1}, Bytes{one.bytes}};
  }
  const Load& most = options_.window;
  if (load.messages <= most.messages && (load.bytes <= most.bytes || load.messages.value <= 1)) return;
  throw Broken("the_window_holds", name() + " has " + std::to_string(load.messages.value) + " messages and " +
                                       std::to_string(load.bytes.value) + " bytes at work");
}

void Shard::begin(const engine::Delivery& delivery, std::int64_t batch_takes_us) {
  const std::string& queue = options_.queues[delivery.queue].queue;
  Running& one = running_[delivery.ticket];
  one = {};
  one.running = true;
  one.holding = stage_.ledger.taken(worker, queue, delivery);
  one.bytes = delivery.body.size();
  one.queue = delivery.queue;
  one.uid = *uid_of(delivery.body);
  // Not of the shard's stream: what becomes of a message is its own, whatever happens to others.
  Random dice(stage_.scenario.seed ^ (std::uint64_t{one.uid} << 32), one.holding);
  one.outcome = outcome_kinds[dice.weighted(stage_.scenario.outcomes)].outcome;
  if (stage_.healed && dice.percent(80)) one.outcome = Outcome::ack;
  one.silent = dice.percent(stage_.scenario.silent_percent);
  one.poison = poison_of(stage_.scenario, one.uid);
  if (one.poison != Poison::none) {
    one.silent = false;
    if (!kind_of(one.outcome).counts) one.outcome = Outcome::ack;  // who puts itself off never ends
  }
  // What was an output itself publishes nothing: all must end.
  if (one.outcome == Outcome::ack && !stage_.ledger.is_output(one.uid) &&
      dice.percent(stage_.scenario.outputs_percent)) {
    one.outputs = static_cast<std::uint32_t>(dice.between(1, 3));
  }
  stage_.say(name().c_str(), "takes message %u (%s, attempt %u); it will %s%s", one.uid, machine_.id(delivery).c_str(),
             delivery.attempt, kind_of(one.outcome).name, one.silent ? " once all is well" : "");
  if (one.silent && !stage_.healed) return;
  const std::int64_t takes = dice.percent(70) ? batch_takes_us : within(dice, stage_.scenario.handler_us);
  if (one.poison != Poison::none && one.poison != Poison::left_behind) {
    stage_.in(takes, EventKind::poison, number(), one.uid, one.holding);
    return;
  }
  stage_.in(takes, EventKind::handler_end, number(), delivery.ticket, one.holding);
}

void Shard::handler_end(engine::Ticket ticket, HoldingId holding) {
  Running& one = running_[ticket];
  if (is_dead() || !one.running || one.holding != holding || one.ended) return;
  one.ended = true;
  ended_.push_back(ticket);
  constexpr std::size_t ended_most = 256;
  ended_last_.push_front(one.uid);
  if (ended_last_.size() > ended_most) ended_last_.pop_back();
  // Before it is settled, or after: its turn comes within half a millisecond.
  if (one.poison == Poison::left_behind) {
    stage_.in(random_.between(0, 2000), EventKind::poison, number(), one.uid, one.holding);
  }
  will_turn(500);
}

void Shard::will_turn(std::int64_t most_us) {
  if (std::exchange(turn_planned_, true)) return;
  stage_.in(random_.between(0, most_us), EventKind::shard_turn, number());
}

engine::Output Shard::make_output(Random& random, std::vector<Uid>& made) {
  const Scenario& scenario = stage_.scenario;
  const std::size_t queue = random.below(scenario.queues.size());
  const std::size_t type = random.below(scenario.types.size());
  engine::Output output;
  output.queue = scenario.queues[queue].name;
  output.type = scenario.types[type];
  output.priority = scenario.lanes[random.below(scenario.lanes.size())];
  if (random.percent(scenario.delayed_percent)) output.delay = Duration{random.between(1, 300'000)};
  const auto bytes = static_cast<std::size_t>(within(random, scenario.payload_bytes));
  const Uid uid = stage_.ledger.make(queue, output.priority, type, output.delay.count(), bytes);
  output.key = key_of(uid);
  output.body = body_of(uid, bytes);
  made.push_back(uid);
  return output;
}

engine::Settlement Shard::settlement_of(engine::Ticket ticket) {
  Running& one = running_[ticket];
  Random dice(stage_.scenario.seed ^ (std::uint64_t{one.uid} << 32), one.holding + (1ULL << 40));
  const OutcomeKind& kind = kind_of(one.outcome);
  engine::Settlement settlement{ticket, one.outcome, nullptr};
  std::vector<Uid> outputs;
  if (!kind.ends && !kind.returns) {
    settlement.detail = std::make_unique<engine::SettlementDetail>();
    settlement.detail->error = kind.name;
    if (dice.percent(kind.asks)) settlement.detail->delay = Duration{dice.between(0, 300'000)};
  }
  if (one.outputs > 0 && machine_.has_queue(stage_.scenario.queues.front().name)) {
    settlement.detail = std::make_unique<engine::SettlementDetail>();
    for (std::uint32_t i = 0; i < one.outputs; ++i) {
      settlement.detail->outputs.push_back(make_output(dice, outputs));
    }
  }
  stage_.say(name().c_str(), "settles message %u: %s, %zu outputs", one.uid, kind.name, outputs.size());
  const auto* detail = settlement.detail.get();
  stage_.ledger.settled(one.holding, one.outcome, detail == nullptr ? std::nullopt : detail->delay, std::move(outputs));
  one.running = false;
  return settlement;
}

void Shard::turn() {
  turn_planned_ = false;
  if (is_dead()) return;
  if (!ended_.empty()) {
    settlements_.clear();
    for (const engine::Ticket ticket : ended_) settlements_.push_back(settlement_of(ticket));
    ended_.clear();
    machine_.settle(stage_.clock.instant(), settlements_);
  }
  take();
  carry_out();
}

void Shard::stop_taking() {
  machine_.stop_taking(stage_.clock.instant());
  carry_out();
}

void Shard::goodbye() {
  machine_.goodbye(stage_.clock.instant());
  carry_out();
}

void Shard::release_all() {
  for (engine::Ticket ticket = 0; ticket < running_.size(); ++ticket) {
    Running& one = running_[ticket];
    if (!one.running) continue;
    one.outcome = Outcome::release;
    one.outputs = 0;
    handler_end(ticket, one.holding);
  }
}

void Shard::heal() {
  paused_until_us = 0;
  for (engine::Ticket ticket = 0; ticket < running_.size(); ++ticket) {
    Running& one = running_[ticket];
    if (!one.running || !one.silent || one.ended) continue;
    stage_.in(within(random_, stage_.scenario.handler_us), EventKind::handler_end, number(), ticket, one.holding);
  }
}

void Shard::report(v1::DeathReport& report) const {
  const auto add = [&](Uid uid, v1::Started::Part part) {
    const Place place = stage_.ledger.place_of(uid);
    auto* started = report.add_started();
    started->set_queue(stage_.scenario.queues[place.queue - 1].name);
    started->set_segment(place.segment);
    started->set_index(place.index);
    started->set_part(part);
  };
  for (const Uid uid : ended_last_) add(uid, v1::Started::ENDED);
  for (const Running& one : running_) {
    if (one.running && !one.ended) add(one.uid, v1::Started::SUSPENDED);
  }
}

bool Shard::is_at(HoldingId holding) const {
  return std::any_of(running_.begin(), running_.end(),
                     [&](const Running& one) { return one.running && !one.ended && one.holding == holding; });
}

bool Shard::is_idle() const {
  return std::none_of(running_.begin(), running_.end(), [](const Running& one) { return one.running; });
}

void handler_end(Endpoint& shard, std::uint32_t ticket, HoldingId holding) {
  static_cast<Shard&>(shard).handler_end(ticket, holding);
}
void shard_turn(Endpoint& shard) { static_cast<Shard&>(shard).turn(); }
std::uint32_t host_of(const Endpoint& shard) { return static_cast<const Shard&>(shard).host; }

}  // namespace weir::simulation
