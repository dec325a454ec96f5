#include "faults.hpp"

#include <algorithm>
#include <array>

#include "world.hpp"

namespace weir::simulation {
namespace {

constexpr std::int64_t ms = 1000;
constexpr std::int64_t s = 1000 * ms;

/// A line that somebody still has open, or 0.
LineId some_line(World& world, Random& random) {
  std::vector<LineId> lines;
  for (const Endpoint* endpoint : world.clients.all) {
    if (endpoint->line() != 0) lines.push_back(endpoint->line());
  }
  return lines.empty() ? 0 : lines[random.below(lines.size())];
}

/// About as long as what is timed out by sessions, or much shorter.
std::int64_t some_time(World& world, Random& random) {
  const std::int64_t timeout = world.scenario.session_timeout.count();
  return random.percent(60) ? random.between(ms, timeout / 2) : random.between(timeout / 2, timeout * 5 / 2);
}

template <class T>
T* one_of(const std::vector<T*>& all, Random& random) {
  return all.empty() ? nullptr : all[random.below(all.size())];
}

// ---- the network

void cut(World& world, Random& random) {
  if (const LineId line = some_line(world, random)) world.network.cut(line, false);
}
/// Half-open: neither side is told, and nothing arrives.
void vanish(World& world, Random& random) {
  if (const LineId line = some_line(world, random)) world.network.cut(line, true);
}
void stall(World& world, Random& random) {
  if (const LineId line = some_line(world, random)) world.network.stall(line, some_time(world, random));
}
void repeat(World& world, Random& random) {
  if (const LineId line = some_line(world, random)) world.network.repeat(line);
}
void storm(World& world, Random& random) {
  for (const Endpoint* endpoint : world.clients.all) {
    if (endpoint->line() != 0) world.network.cut(endpoint->line(), random.percent(20));
  }
}

// ---- the broker

void broker_crash(World& world, Random& random) {
  if (!world.broker.is_up()) return;
  crash_broker(world, random.percent(70) ? random.between(0, 300 * ms) : some_time(world, random));
}
void broker_pause(World& world, Random& random) {
  if (world.broker.is_up()) world.broker.pause(some_time(world, random));
}

// ---- workers

void worker_crash(World& world, Random& random) {
  ProcessHost* process = one_of(world.living_processes(), random);
  if (process == nullptr) return;
  process->crash(random.percent(70) ? random.between(0, 50 * ms) : -1);
  if (random.percent(80)) world.start_process(process->plan());  // a crowd must do without it, or not
}
void worker_pause(World& world, Random& random) {
  if (ProcessHost* process = one_of(world.living_processes(), random)) process->pause(some_time(world, random), false);
}
/// It sleeps through the end of its sessions and the next start of the broker, and comes back with what it held.
void worker_misses_a_restart(World& world, Random& random) {
  ProcessHost* process = one_of(world.living_processes(), random);
  if (process == nullptr) return;
  const std::int64_t timeout = world.scenario.session_timeout.count();
  const std::int64_t asleep = random.between(timeout * 5 / 4, timeout * 5 / 2);
  process->pause(asleep, false);
  world.stage.in(asleep - random.between(ms, timeout / 8), EventKind::broker_crash, 0, world.broker.life());
}
void shard_stuck(World& world, Random& random) {
  if (ProcessHost* process = one_of(world.living_processes(), random)) process->pause(some_time(world, random), true);
}
void worker_drain(World& world, Random& random) {
  ProcessHost* process = one_of(world.living_processes(), random);
  if (process == nullptr) return;
  process->drain(random.between(10 * ms, 2 * s));
  if (random.percent(80)) world.start_process(process->plan());
}

// ---- publishers

void publisher_crash(World& world, Random& random) {
  PublisherHost* publisher = one_of(world.living_publishers(), random);
  if (publisher == nullptr) return;
  world.start_publisher(publisher->crash());
}
void publisher_pause(World& world, Random& random) {
  if (PublisherHost* publisher = one_of(world.living_publishers(), random)) {
    publisher->paused_until_us = world.stage.clock.now_us + some_time(world, random);
  }
}
/// It is cut off and does not come back before its mark is gone. Nobody waits for that: once the broker has missed it,
/// all sleep for more than the hour.
void publisher_forgotten(World& world, Random& random) {
  PublisherHost* publisher = one_of(world.living_publishers(), random);
  if (publisher == nullptr || publisher->line() == 0) return;
  const std::int64_t missed = random.between(ms, world.scenario.session_timeout.count() * 2);
  const std::int64_t asleep = random.between(3605, 5400);
  world.network.cut(publisher->line(), random.percent(50));
  publisher->paused_until_us = world.stage.clock.now_us + missed + s;
  world.stage.in(missed, EventKind::machine_sleeps, static_cast<std::uint32_t>(asleep), publisher->number());
}

// ---- the disk

void disk_slow(World& world, Random& random) {
  world.broker.slow_disk(random.between(100 * ms, 2 * s), random.between(10 * ms, 800 * ms));
}
void disk_full(World& world, Random& random) { world.broker.full_disk(random.between(50 * ms, 2 * s)); }
void disk_low(World& world, Random& random) { world.broker.low_disk(random.between(50 * ms, 2 * s)); }
void sync_fails(World& world, Random&) { world.broker.fail_next_sync(); }

// ---- the data folder

void replace_store(World& world, Random& random, bool wipe) {
  if (world.broker.is_up()) {
    crash_broker(world, random.between(0, 300 * ms));
  }
  if (wipe) {
    world.broker.wipe();
  } else {
    world.broker.put_back();
  }
}
void store_wiped(World& world, Random& random) { replace_store(world, random, true); }
void store_put_back(World& world, Random& random) { replace_store(world, random, false); }

// ---- clocks

void wall_jump(World& world, Random& random) {
  const std::int64_t by = random.percent(50) ? random.between(-5 * s, 5 * s) : random.between(-7200 * s, 7200 * s);
  world.stage.clock.jump(by);
  world.stage.say("FAULT", "the wall clock jumps by %lld ms", static_cast<long long>(by / ms));
}
void suspend(World& world, Random& random) {
  sleep(world, random.percent(70) ? some_time(world, random) : random.between(1800 * s, 5400 * s));
}

struct Fault {
  const char* name;
  unsigned weight;  ///< at most
  void (*happen)(World& world, Random& random);
};
constexpr std::size_t later_ones = 4;
constexpr std::array table{
    Fault{"cut", 20, cut},
    Fault{"vanish", 8, vanish},
    Fault{"stall", 10, stall},
    Fault{"repeat", 6, repeat},
    Fault{"storm", 4, storm},
    Fault{"broker_crash", 14, broker_crash},
    Fault{"broker_pause", 6, broker_pause},
    Fault{"worker_crash", 8, worker_crash},
    Fault{"worker_pause", 8, worker_pause},
    Fault{"shard_stuck", 6, shard_stuck},
    Fault{"worker_drain", 6, worker_drain},
    Fault{"publisher_crash", 3, publisher_crash},
    Fault{"publisher_pause", 6, publisher_pause},
    Fault{"disk_slow", 8, disk_slow},
    Fault{"disk_full", 5, disk_full},
    Fault{"disk_low", 4, disk_low},
    Fault{"sync_fails", 4, sync_fails},
    Fault{"wall_jump", 6, wall_jump},
    Fault{"suspend", 2, suspend},
    // Later ones: seeds that were kept keep their worlds where these do not happen.
    Fault{"worker_misses_a_restart", 3, worker_misses_a_restart},
    Fault{"publisher_forgotten", 2, publisher_forgotten},
    Fault{"store_wiped", 3, store_wiped},
    Fault{"store_put_back", 6, store_put_back},
};

}  // namespace

std::size_t fault_kinds() { return table.size(); }
const char* fault_name(std::size_t kind) { return table[kind].name; }

std::vector<unsigned> draw_faults(Random& random, Random later) {
  std::vector<unsigned> weights(table.size(), 0);
  if (random.percent(5)) return weights;
  const auto chance = static_cast<unsigned>(random.between(15, 90));
  for (std::size_t i = 0; i < table.size(); ++i) {
    Random& from = i + later_ones < table.size() ? random : later;
    const auto weight = static_cast<unsigned>(from.between(1, table[i].weight));
    if (from.percent(chance)) weights[i] = weight;
  }
  return weights;
}

void sleep(World& world, std::int64_t for_us) {
  world.stage.ledger.broker_pauses();
  world.stage.clock.now_us += for_us;
  world.stage.say("FAULT", "the machine sleeps for %lld ms", static_cast<long long>(for_us / ms));
  // A gap of its own: the broker gives all fresh time.
  if (for_us > world.scenario.session_timeout.count() / 4) world.stage.ledger.broker_resumed();
}

void crash_broker(World& world, std::int64_t starts_after_us) {
  world.broker.crash("kill -9");
  world.stage.in(starts_after_us, EventKind::broker_start, 0, world.broker.life() + 1);
}

void happen(World& world, std::size_t kind, Random& random) { table[kind].happen(world, random); }

}  // namespace weir::simulation
