#include "world.hpp"

#include <algorithm>
#include <exception>

#include "faults.hpp"
#include "outcomes.hpp"

namespace weir::simulation {
namespace {

/// So long after all is well everything must have ended. (A window of one message and handlers of half a second take
/// their time.)
constexpr std::int64_t patience_us = 900'000'000;
/// A world is some thousands; more than this and somebody turns for nothing.
constexpr std::uint64_t steps_most = 2'000'000;

std::vector<const char*> message_events() {
  std::vector<const char*> names{"stored", "confirmed", "refused", "in doubt", "granted", "taken", "compacted"};
  for (const auto& kind : outcome_kinds) names.push_back(kind.name);
  for (std::size_t i = 0; i < fault_kinds(); ++i) names.push_back(fault_name(i));
  return names;
}

}  // namespace

Coverage::Coverage()
    : messages("message", {message_states.begin(), message_states.end()}, message_events()),
      broker("broker", {broker_states.begin(), broker_states.end()}, broker_events()) {}

World::World(const RunOptions& options, Coverage& coverage)
    : scenario(draw(options)),
      stage(scenario, options.trace, coverage.messages, coverage.broker),
      network(stage),
      broker(stage, network, clients),
      options_(options),
      fault_times_(options.seed, 7),
      operator_random_(options.seed, 8) {}

World::~World() = default;

void World::start_process(std::size_t plan) {
  processes.push_back(
      std::make_unique<ProcessHost>(stage, network, clients, plan, static_cast<std::uint32_t>(processes.size())));
}

void World::start_publisher(std::uint32_t messages) {
  publishers.push_back(std::make_unique<PublisherHost>(stage, network, clients,
                                                       "publisher" + std::to_string(publishers.size()), messages));
  publishers.back()->start();
}

std::vector<ProcessHost*> World::living_processes() {
  std::vector<ProcessHost*> living;
  for (const auto& process : processes) {
    if (!process->is_dead()) living.push_back(process.get());
  }
  return living;
}

std::vector<PublisherHost*> World::living_publishers() {
  std::vector<PublisherHost*> living;
  for (const auto& publisher : publishers) {
    if (!publisher->is_dead()) living.push_back(publisher.get());
  }
  return living;
}

void World::begin() {
  broker.start();
  for (std::size_t i = 0; i < scenario.processes.size(); ++i) start_process(i);
  for (std::uint32_t i = 0; i < scenario.publishers; ++i) start_publisher(scenario.messages);
  const bool faulty = std::any_of(scenario.faults.begin(), scenario.faults.end(), [](unsigned one) { return one > 0; });
  if (faulty) stage.in(scenario.fault_every_us, EventKind::fault);
  if (scenario.operator_percent > 0) stage.in(500'000, EventKind::operate);
  stage.in(scenario.active_us, EventKind::heal);
}

Result World::run() {
  try {
    if (options_.trace) std::printf("%s", print(scenario).c_str());
    begin();
    while (!ended_ && result_.steps < options_.steps_most) {
      const Event event = stage.agenda.take();
      stage.clock.now_us = std::max(stage.clock.now_us, event.at);
      if (const auto until = paused_until(event); until > stage.clock.now_us) {
        stage.agenda.postpone(event, until);
        continue;
      }
      if (is_void(event)) continue;
      if (++result_.steps > steps_most) throw Broken("everything_ends", "the run itself does not");
      if (result_.steps > steps_most - 20) {
        stage.say("STEP", "kind %d of %u, %u, %u", static_cast<int>(event.kind), event.a, event.b, event.c);
      }
      handle(event);
      if (stage.healed) ended_ = is_done();
    }
    if (ended_) check_end();
  } catch (const Broken& broken) {
    result_.broken = broken.what();
    result_.promise = broken.promise;
  } catch (const std::exception& error) {
    result_.promise = "the_code_never_throws";
    result_.broken = result_.promise + ": " + error.what();
  }
  if (!result_.broken.empty()) stage.say("BROKEN", "%s", result_.broken.c_str());
  result_.fingerprint = stage.fingerprint;
  result_.virtual_us = stage.clock.now_us - Clock{}.now_us;
  return result_;
}

std::int64_t World::paused_until(const Event& event) const {
  switch (event.kind) {
    case EventKind::frame_at_broker:
    case EventKind::commit_written:
    case EventKind::commit_told:
      return broker.paused_until_us();
    case EventKind::broker_turn:
      return event.a == 1 ? 0 : broker.paused_until_us();
    case EventKind::frame_at_client:
    case EventKind::line_ended:
      return clients.all[const_cast<Network&>(network).line(event.a).endpoint]->paused_until_us;
    case EventKind::client_tick:
    case EventKind::handler_end:
    case EventKind::shard_turn:
    case EventKind::poison:
    case EventKind::publish:
      return clients.all[event.a]->paused_until_us;
    default:
      return 0;
  }
}

bool World::is_void(const Event& event) const {
  switch (event.kind) {
    case EventKind::client_tick:
      return !clients.all[event.a]->is_planned(event);
    case EventKind::broker_turn:
      return event.b != broker.life() || !broker.is_up() || !broker.is_planned(event);
    case EventKind::commit_written:
    case EventKind::commit_told:
      return event.b != broker.life() || !broker.is_up();
    case EventKind::broker_crash:
      return event.b != broker.life() || !broker.is_up() || stage.healed;
    case EventKind::machine_sleeps:
      return stage.healed;
    case EventKind::frame_at_broker:
    case EventKind::frame_at_client:
      return network.is_void(event);
    default:
      return false;
  }
}

void World::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::frame_at_broker:
      return broker.frame(event);
    case EventKind::frame_at_client: {
      std::string bytes;
      if (network.arrive(event, false, bytes)) {
        clients.all[network.line(event.a).endpoint]->frame(event.a, std::move(bytes));
      }
      return;
    }
    case EventKind::line_ended:
      return clients.all[network.line(event.a).endpoint]->ended(event.a);
    case EventKind::client_tick:
      return clients.all[event.a]->tick();
    case EventKind::broker_turn:
      if (event.a == 1) return broker.resume();
      return broker.turn();
    case EventKind::broker_start:
      if (!broker.is_up() && event.b == broker.life() + 1) broker.start();
      return;
    case EventKind::broker_crash:
      return crash_broker(*this, 0);
    case EventKind::commit_written:
      return broker.commit_written();
    case EventKind::commit_told:
      return broker.commit_told();
    case EventKind::handler_end:
      return handler_end(*clients.all[event.a], event.b, event.c);
    case EventKind::shard_turn:
      return shard_turn(*clients.all[event.a]);
    case EventKind::poison:
      return poisoned(event);
    case EventKind::process_start:
      return start_process(event.a);
    case EventKind::process_step:
      return processes[event.a]->step();
    case EventKind::publish:
      return publish(*clients.all[event.a]);
    case EventKind::machine_sleeps:
      sleep(*this, static_cast<std::int64_t>(event.a) * 1'000'000);
      clients.all[event.b]->paused_until_us = stage.clock.now_us + 1'000'000;
      return;
    case EventKind::operate:
      return operate();
    case EventKind::fault:
      return next_fault();
    case EventKind::heal:
      return heal();
  }
}

/// A message ends its process; another one takes its place.
void World::poisoned(const Event& event) {
  Random dice(scenario.seed ^ (std::uint64_t{event.b} << 32), event.c + (2ULL << 40));
  const bool is_told = stage.healed || dice.percent(90);
  ProcessHost& process = *processes[host_of(*clients.all[event.a])];
  if (!process.dies_of(event.b, event.c, is_told)) return;
  constexpr std::int64_t ms = 1000;
  stage.in(dice.between(10 * ms, 400 * ms), EventKind::process_start, static_cast<std::uint32_t>(process.plan()));
}

void World::next_fault() {
  if (stage.healed) return;
  const std::uint32_t number = result_.faults++;
  stage.in(fault_times_.between(scenario.fault_every_us / 8, scenario.fault_every_us * 2), EventKind::fault);
  Random dice(scenario.seed ^ 0xfa017, number);
  const std::size_t kind = dice.weighted(scenario.faults);
  if (number < options_.skipped.size() && options_.skipped[number]) return;
  stage.say("FAULT", "%u: %s", number, fault_name(kind));
  stage.ledger.happened(static_cast<std::size_t>(MessageEvent::settled) + outcome_kinds.size() + kind);
  wall_ahead_most_us_ = std::max(wall_ahead_most_us_, stage.clock.wall_ahead_us);
  happen(*this, kind, dice);
  wall_ahead_most_us_ = std::max(wall_ahead_most_us_, stage.clock.wall_ahead_us);
}

void World::operate() {
  if (!stage.healed) stage.in(operator_random_.between(100'000, 2'000'000), EventKind::operate);
  const std::size_t queue = operator_random_.below(scenario.queues.size());
  const bool acts = operator_random_.percent(scenario.operator_percent);
  const bool replays = operator_random_.percent(60);
  if (!acts || !broker.is_up() || broker.paused_until_us() > stage.clock.now_us) return;
  const auto places = stage.ledger.dead_letters(queue);
  if (places.empty()) return;
  stage.say("operator", "%s %zu dead letters of %s", replays ? "replays" : "purges", places.size(),
            scenario.queues[queue].name.c_str());
  replays ? broker.replay(places) : broker.purge(places);
}

void World::heal() {
  stage.healed = true;
  healed_at_us_ = stage.clock.now_us;
  stage.say("HEAL", "all is well from now on");
  broker.heal();
  network.heal();
  // What was due by a clock that has since been put back is due now: a wall time for the broker that runs, a delay that
  // was written by another clock than the running broker's for the next one.
  for (std::size_t i = 0; i < scenario.faults.size(); ++i) {
    if (scenario.faults[i] == 0 || std::string_view(fault_name(i)) != "wall_jump") continue;
    if (stage.ledger.started_ahead_us() < wall_ahead_most_us_) broker.crash("to see the right time");
    wall_ahead_most_us_ = std::max(wall_ahead_most_us_, stage.ledger.last_wall_due_us() - stage.clock.now_us);
    if (wall_ahead_most_us_ > stage.clock.wall_ahead_us) {
      stage.clock.jump(wall_ahead_most_us_ - stage.clock.wall_ahead_us);
    }
  }
  if (!broker.is_up()) broker.start();
  for (const auto& publisher : publishers) publisher->paused_until_us = 0;
  for (const auto& process : processes) process->heal();
  for (std::size_t plan = 0; plan < scenario.processes.size(); ++plan) {
    const auto living = living_processes();
    if (std::none_of(living.begin(), living.end(),
                     [&](ProcessHost* one) { return one->plan() == plan && !one->is_draining(); })) {
      start_process(plan);
    }
  }
}

bool World::is_done() {
  if (stage.clock.now_us - healed_at_us_ > patience_us) return true;
  if (!stage.ledger.is_done()) return false;
  for (const auto& publisher : publishers) {
    if (!publisher->is_done()) return false;
  }
  for (auto* process : living_processes()) {
    if (process->unconfirmed() > 0) return false;
  }
  return broker.is_up() && broker.is_quiet();
}

void World::check_end() {
  for (const auto& publisher : publishers) {
    if (!publisher->is_done()) {
      throw Broken("everybody_gets_credit_at_last",
                   publisher->name() + " still has messages that it could not publish");
    }
  }
  if (!broker.is_up()) throw Broken("everything_ends", "the broker does not run");
  broker.check_end();
  for (auto* process : living_processes()) {
    if (process->unconfirmed() > 0) {
      throw Broken("every_settlement_is_answered", "a worker waits for the answer to a settlement for ever");
    }
  }
}

}  // namespace weir::simulation
