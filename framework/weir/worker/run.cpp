#include "weir/worker/run.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "weir/telemetry/log.hpp"
#include "weir/worker/offload_lines.hpp"
#include "weir/worker/token.hpp"
#include "weir/worker/watchdog.hpp"

namespace weir::worker {
namespace {

constexpr Duration connected_first_within = std::chrono::seconds(1);

/// The longest drain because of a stuck handler: other handlers must not delay the end of the process for longer.
constexpr Duration stuck_drain_most = std::chrono::seconds(5);

std::vector<engine::ShardActivity> look_at(const GroupSettings& settings, recorder::Recorder& recorder) {
  std::vector<engine::ShardActivity> out;
  const auto now = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < settings.shards; ++i) {
    engine::ShardActivity activity{.shard = i, .stuck = recorder.is_stuck(i)};
    if (const auto running = recorder.on_cpu(recorder.shard(i))) {
      activity.since_turn = std::chrono::duration_cast<Duration>(now - running->since);
      activity.running = print_id(settings.queues[running->what.queue], running->what.segment, running->what.index);
    }
    out.push_back(std::move(activity));
  }
  return out;
}

}  // namespace

Ended run(const GroupSettings& settings, const ProcessToken& process, const Registration& registration,
          const std::stop_token& stop, recorder::Recorder& recorder, engine::MakeOptions options) {
  if (!options.notice) {
    options.notice = [name = settings.name](std::string_view event, const std::string& text) {
      log::info(event, {{"worker", name}, {"text", text}});
    };
  }
  auto engine = engine::make(settings.engine, options);
  record_offloads();
  Worker worker(settings, process, *engine, recorder, registration);
  auto keep_alive = engine->keep_alive({.process = process,
                                        .look = [&] { return look_at(settings, recorder); },
                                        .beat =
                                            [&](Duration session_timeout) {
                                              worker.pulse().beat(session_timeout);
                                              recorder.beat(session_timeout);  // the parent reads it
                                            }});
  // First, so that the parent knows from the first message on how long a process may be stopped. Without a broker no
  // messages come, so the wait is bounded.
  if (keep_alive) keep_alive->wait_connected(connected_first_within);
  worker.start();
  std::optional<Watchdog> watchdog(std::in_place, settings, recorder, worker.types(), [&](const Stuck& stuck) {
    if (keep_alive) keep_alive->now();
    worker.give_up(stuck.shard, stuck.on_loop, stuck_drain_most,
                   "the handler of " + stuck.message + " is past its timeout and cannot be cancelled");
  });
  log::info("working", {{"worker", settings.name}, {"engine", settings.engine}, {"shards", settings.shards}});
  const std::stop_callback stopping(stop, [&] {
    log::info("draining", {{"worker", settings.name}, {"most", settings.drain}});
    worker.stop();
  });
  Ended ended = worker.wait();
  watchdog.reset();
  keep_alive.reset();
  if (!ended.failure.empty()) log::error("worker_failed", {{"worker", settings.name}, {"error", ended.failure}});
  if (!ended.joined) {
    log::error("handlers_would_not_end", {{"worker", settings.name}});
    (void)engine.release();  // the session of the shard that is left uses it
  }
  if (ended.open > 0) log::error("settlements_unconfirmed", {{"worker", settings.name}, {"messages", ended.open}});
  log::info("drained", {{"worker", settings.name},
                        {"acked", ended.settled.acked},
                        {"retried", ended.settled.retried},
                        {"rejected", ended.settled.rejected},
                        {"released", ended.settled.released},
                        {"unconfirmed", ended.open}});
  return ended;
}

Ended run(const GroupSettings& settings, const Registration& registration, const std::stop_token& stop,
          engine::MakeOptions options) {
  auto own = std::make_unique<recorder::Recorder>(recorder_size(settings));
  Ended ended = run(settings, random_token(), registration, stop, *own, std::move(options));
  if (!ended.joined) (void)own.release();  // a handler that would not end still writes to its lines
  return ended;
}

}  // namespace weir::worker
