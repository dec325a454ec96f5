#include "scenario.hpp"

#include <algorithm>

#include "faults.hpp"
#include "outcomes.hpp"
#include "random.hpp"

namespace weir::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t ms = 1000;

/// A queue's policy. A new key of QueuePolicy is drawn here, and nowhere else.
QueuePolicy draw_policy(Random& random, std::int64_t active_us) {
  QueuePolicy policy;
  policy.attempts = static_cast<std::uint32_t>(random.between(1, 4));
  policy.backoff.first = Duration{random.between(0, 60) * ms};
  policy.backoff.factor = 1.0 + static_cast<double>(random.below(3));
  policy.backoff.most = Duration{random.between(10, 400) * ms};
  policy.backoff.jitter = random.percent(50) ? 0.2 : 0.0;
  if (random.percent(40)) {
    if (random.percent(75)) policy.most.messages = Messages{static_cast<std::uint64_t>(random.between(2, 40))};
    if (!policy.most.messages || random.percent(20)) {
      policy.most.bytes = Bytes{static_cast<std::uint64_t>(random.between(200, 4000))};
    }
    policy.most.on_full = random.percent(60) ? OnFull::wait : OnFull::refuse;
  }
  if (random.percent(25)) {
    policy.dead.most = Messages{static_cast<std::uint64_t>(random.between(1, 8))};
    policy.dead.on_full = random.percent(50) ? OnDeadFull::refuse : OnDeadFull::oldest;
  }
  if (random.percent(15)) policy.dead.keep = Duration{random.between(500 * ms, active_us)};
  policy.unknown_grace = Duration{random.between(0, 2000) * ms};
  return policy;
}

void draw_workers(Random& random, Scenario& scenario) {
  const auto processes = static_cast<std::size_t>(random.between(1, 3));
  for (std::size_t i = 0; i < processes; ++i) {
    ProcessPlan& process = scenario.processes.emplace_back();
    process.shards = random.percent(70) ? 1 : 2;
    for (std::size_t queue = 0; queue < scenario.queues.size(); ++queue) {
      // The first process knows every queue and all but the last type: what is published can end.
      if (i > 0 && random.percent(30) && !process.attach.empty()) continue;
      AttachPlan& attach = process.attach.emplace_back();
      attach.queue = queue;
      if (scenario.types.size() == 1) continue;
      for (std::size_t type = 0; type + 1 < scenario.types.size(); ++type) {
        if (i == 0 || random.percent(70)) attach.types.push_back(scenario.types[type]);
      }
    }
  }
}

}  // namespace

Scenario draw(const RunOptions& options) {
  Random random(options.seed, 1);
  Scenario scenario;
  scenario.seed = options.seed;
  scenario.active_us = random.between(1000, 8000) * ms;
  const auto queues = static_cast<std::size_t>(random.percent(50) ? 1 : random.between(2, 3));
  constexpr const char* names[] = {"orders", "emails", "audits"};
  for (std::size_t i = 0; i < queues; ++i) {
    scenario.queues.push_back({names[i], draw_policy(random, scenario.active_us)});
  }
  scenario.types = {"shop.Order"};
  if (random.percent(25)) scenario.types = {"shop.Order", "shop.Refund", "shop.Unheard"};
  scenario.lanes = {default_lane};
  if (random.percent(25)) scenario.lanes = {default_lane, 0, 9};
  draw_workers(random, scenario);

  scenario.publishers = static_cast<std::uint32_t>(random.percent(60) ? 1 : random.between(2, 3));
  scenario.messages = static_cast<std::uint32_t>(random.percent(80) ? random.between(20, 150) : random.between(1, 20));
  scenario.window.messages = {static_cast<std::uint64_t>(random.percent(50) ? random.between(1, 8) : 64)};
  scenario.window.bytes = {static_cast<std::uint64_t>(random.percent(30) ? random.between(50, 500) : 1 << 20)};
  scenario.publisher_window = {{static_cast<std::uint64_t>(random.percent(50) ? random.between(1, 20) : 16384)},
                               {static_cast<std::uint64_t>(random.percent(20) ? random.between(100, 2000) : 8 << 20)}};
  scenario.session_timeout = milliseconds(random.between(400, 4000));
  const auto latency = random.between(20, 5000);
  scenario.latency_us = {latency / 4, latency};
  const auto write = random.percent(20) ? random.between(20, 200) * ms : random.between(100, 10'000);
  scenario.write_us = {write / 4, write};
  const auto handler = random.percent(30) ? random.between(100, 1000) * ms : random.between(1, 50) * ms;
  scenario.handler_us = {handler / 8, handler};
  const auto publish = random.between(1000, 80 * ms);
  scenario.publish_every_us = {publish / 8, publish};
  scenario.payload_bytes = {4, random.percent(50) ? 20 : 200};

  const auto sometimes = [&](unsigned chance, std::int64_t low, std::int64_t high) {
    return random.percent(chance) ? static_cast<unsigned>(random.between(low, high)) : 0U;
  };
  scenario.delayed_percent = sometimes(40, 5, 60);
  scenario.silent_percent = sometimes(20, 1, 10);
  scenario.outputs_percent = sometimes(40, 10, 50);
  scenario.operator_percent = sometimes(40, 20, 80);
  scenario.outcomes = draw_outcomes(random);
  scenario.faults = draw_faults(random, Random(options.seed, 6));
  scenario.fault_every_us = random.between(60, 1500) * ms;
  for (auto& queue : scenario.queues) queue.policy.ahead = random.percent(75);
  // A stream of its own: it came later, and seeds that were kept keep their worlds.
  Random compaction(options.seed, 5);
  scenario.compaction = {milliseconds(compaction.between(1, 2000)),
                         static_cast<std::uint32_t>(compaction.between(1, 4)), Bytes{0}};

  Random takes(options.seed, 9);
  const std::int64_t take_most = takes.percent(50) ? 100 * ms : 6 * scenario.session_timeout.count();
  if (takes.percent(40)) scenario.take_us = {0, takes.between(ms, take_most)};

  Random times(options.seed, 13);  // of this stream the kept seeds draw none
  if (times.percent(20)) scenario.timed_percent = static_cast<unsigned>(times.between(5, 60));

  Random effort(options.seed, 21);  // of this stream neither
  if (effort.percent(30)) scenario.effort_ns = effort.between(500, 20'000);

  // Elsewhere nothing that was confirmed is ever lost. (Of this stream the kept seeds draw none.)
  scenario.stores_change = Random(options.seed, 131).percent(20);
  for (std::size_t i = 0; i < scenario.faults.size(); ++i) {
    if (!scenario.stores_change && std::string_view(fault_name(i)).starts_with("store_")) scenario.faults[i] = 0;
  }

  Random poison(options.seed, 137);  // nor of this one
  if (poison.percent(20)) scenario.poison_percent = static_cast<unsigned>(poison.between(1, 8));

  // What was taken away changes nothing of what is left.
  if (options.without.contains("delays")) scenario.delayed_percent = 0;
  if (options.without.contains("times")) scenario.timed_percent = 0;
  if (options.without.contains("outputs")) scenario.outputs_percent = 0;
  if (options.without.contains("poison")) scenario.poison_percent = 0;
  if (options.without.contains("operator")) scenario.operator_percent = 0;
  if (options.without.contains("ahead")) {
    for (auto& queue : scenario.queues) queue.policy.ahead = false;
  }
  if (options.without.contains("slices")) scenario.effort_ns = broker::core::Config{}.effort_ns;
  if (options.without.contains("compaction")) scenario.compaction.after = std::chrono::hours(10'000);
  if (options.without.contains("silence")) scenario.silent_percent = 0;
  if (options.without.contains("late_takes")) scenario.take_us = {};
  for (std::size_t i = 0; i < scenario.faults.size(); ++i) {
    if (options.without.contains(fault_name(i))) scenario.faults[i] = 0;
  }
  for (std::size_t i = 1; i < scenario.outcomes.size(); ++i) {
    if (options.without.contains(outcome_kinds[i].name)) scenario.outcomes[i] = 0;
  }
  scenario.messages = std::min(scenario.messages, options.messages_most);
  scenario.publishers = std::min(scenario.publishers, options.publishers_most);
  if (scenario.processes.size() > options.processes_most) scenario.processes.resize(options.processes_most);
  return scenario;
}

std::string print(const Scenario& scenario) {
  std::string out = "seed " + std::to_string(scenario.seed) + ": " + std::to_string(scenario.publishers) +
                    " publishers of " + std::to_string(scenario.messages) + " messages, session timeout " +
                    std::to_string(scenario.session_timeout.count() / ms) + " ms\n";
  for (const auto& [name, policy] : scenario.queues) {
    out += "  queue " + name + ": attempts " + std::to_string(policy.attempts);
    if (!policy.ahead) out += ", not ahead";
    if (policy.most.messages) out += ", most " + std::to_string(policy.most.messages->value);
    if (policy.most.bytes) out += ", most " + std::to_string(policy.most.bytes->value) + " bytes";
    if (policy.most.messages || policy.most.bytes) {
      out += policy.most.on_full == OnFull::wait ? " (wait)" : " (refuse)";
    }
    if (policy.dead.most) {
      out += ", dead most " + std::to_string(policy.dead.most->value);
      out += policy.dead.on_full == OnDeadFull::refuse ? " (refuse)" : " (oldest)";
    }
    out += '\n';
  }
  for (const auto& process : scenario.processes) {
    out += "  process of " + std::to_string(process.shards) + " shards, window " +
           std::to_string(scenario.window.messages.value) + " messages, " +
           std::to_string(scenario.window.bytes.value) + " bytes:";
    for (const auto& attach : process.attach) out += ' ' + scenario.queues[attach.queue].name;
    out += '\n';
  }
  if (scenario.poison_percent > 0) out += "  poison: " + std::to_string(scenario.poison_percent) + " %\n";
  out += "  faults:";
  for (std::size_t i = 0; i < scenario.faults.size(); ++i) {
    if (scenario.faults[i] > 0) out += std::string(" ") + fault_name(i);
  }
  return out + '\n';
}

}  // namespace weir::simulation
