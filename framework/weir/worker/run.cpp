#include "weir/worker/run.hpp"

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "weir/engine/weir/keep_alive.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

using engine::weir_broker::KeepAlive;
using engine::weir_broker::KeepAliveOptions;
using engine::weir_broker::ShardActivity;

/// Only the embedded broker asks processes to vouch for themselves.
bool has_keep_alives(const std::string& url) { return url.starts_with("weir://"); }

std::vector<ShardActivity> look_at(const Worker& worker) {
  std::vector<ShardActivity> out;
  const auto now = std::chrono::steady_clock::now();
  for (const Shard* shard : worker.shards()) {
    ShardActivity activity{.shard = shard->index()};
    if (const auto running = shard->on_cpu().read()) {
      activity.since_turn = std::chrono::duration_cast<Duration>(now - running->since);
      activity.running = print_id(worker.settings().queues[running->queue], running->segment, running->index);
    }
    out.push_back(std::move(activity));
  }
  return out;
}

}  // namespace

Ended run(const GroupSettings& settings, const ProcessToken& process, const Registration& registration,
          const std::stop_token& stop, engine::MakeOptions options) {
  if (!options.notice) {
    options.notice = [name = settings.name](std::string_view event, const std::string& text) {
      log::info(event, {{"worker", name}, {"text", text}});
    };
  }
  auto engine = engine::make(settings.engine, options);
  Worker worker(settings, process, *engine, registration);
  worker.start();
  std::optional<KeepAlive> keep_alive;
  if (has_keep_alives(settings.engine)) {
    keep_alive.emplace(
        KeepAliveOptions{.url = settings.engine,
                         .process = process,
                         .look = [&worker] { return look_at(worker); },
                         .overslept = {},  // the shards see it by the pulse, before anything of theirs runs on
                         .beat = [&worker](Duration session_timeout) { worker.pulse().beat(session_timeout); },
                         .notice = options.notice});
  }
  log::info("working", {{"worker", settings.name}, {"engine", settings.engine}, {"shards", settings.shards}});
  const std::stop_callback stopping(stop, [&] {
    log::info("draining", {{"worker", settings.name}, {"most", settings.drain}});
    worker.stop();
  });
  Ended ended = worker.wait();
  keep_alive.reset();
  if (!ended.failure.empty()) log::error("worker_failed", {{"worker", settings.name}, {"error", ended.failure}});
  if (!ended.joined) {
    log::error("handlers_would_not_end", {{"worker", settings.name}});
    (void)engine.release();  // their shard's session uses it
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
  return run(settings, random_token(), registration, stop, std::move(options));
}

int run_report(const GroupSettings& settings, const Death& death, int fd) {
  const ProcessToken process = read_token(fd);
  if (!has_keep_alives(settings.engine)) return 0;
  using engine::weir_broker::DeathAnswer;
  const DeathAnswer answer =
      engine::weir_broker::report_death(settings.engine, process, death.exit_code, death.signal, death.limit);
  if (answer != DeathAnswer::no_answer) return 0;
  log::warn("death_not_reported", {{"worker", settings.name}, {"engine", settings.engine}, {"tried", death.limit}});
  return 1;
}

}  // namespace weir::worker
