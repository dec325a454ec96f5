#include "weir/worker/worker.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "weir/telemetry/log.hpp"

namespace weir::worker {

struct Worker::State {
  State(GroupSettings group, ProcessToken token, engine::Engine& of, Registration register_all)
      : settings(std::move(group)), process(token), engine(of), registration(std::move(register_all)) {}

  const GroupSettings settings;
  const ProcessToken process;
  engine::Engine& engine;
  const Registration registration;
  Pulse pulse;
  std::function<void()> told;

  std::mutex mutex;
  std::condition_variable changed;
  std::optional<std::chrono::steady_clock::time_point> end_at;  ///< once it drains

  std::vector<std::unique_ptr<Shard>> shards;  // last: their threads use the rest

  [[nodiscard]] bool all_ended() const {
    return std::all_of(shards.begin(), shards.end(), [](const auto& each) { return each->ended(); });
  }
};

Worker::Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, Registration registration)
    : state_(std::make_shared<State>(std::move(settings), process, engine, std::move(registration))) {}

Worker::~Worker() {
  stop();
  (void)wait();
}

Pulse& Worker::pulse() { return state_->pulse; }
const GroupSettings& Worker::settings() const { return state_->settings; }
const ProcessToken& Worker::process() const { return state_->process; }
void Worker::on_ending(std::function<void()> told) { state_->told = std::move(told); }

std::vector<const Shard*> Worker::shards() const {
  std::vector<const Shard*> out;
  for (const auto& each : state_->shards) out.push_back(each.get());
  return out;
}

void Worker::start() {
  State& state = *state_;
  // Not `this` and no share: shards are the state's own, and join before it dies.
  const auto ended = [&state] {
    // Only one shard's failure, or the last one's end, concerns the others.
    {
      const std::scoped_lock lock(state.mutex);
      state.changed.notify_all();
    }
    if (state.told) state.told();
  };
  for (std::uint32_t i = 0; i < state.settings.shards; ++i) {
    auto shard = std::make_unique<Shard>(
        Shard::Home{state.settings, state.process, state.engine, state.registration, state.pulse, ended}, i);
    try {
      shard->start();
    } catch (...) {
      for (const auto& each : state.shards) each->drain(Duration::zero());
      state.shards.clear();  // joins
      throw;
    }
    state.shards.push_back(std::move(shard));
  }
  for (const auto& each : state.shards) each->go();
}

void Worker::stop() {
  State& state = *state_;
  {
    const std::scoped_lock lock(state.mutex);
    if (state.end_at) return;
    state.end_at = std::chrono::steady_clock::now() + state.settings.drain + drain_last;
    state.changed.notify_all();
  }
  for (const auto& each : state.shards) each->drain(state.settings.drain);
}

Ended Worker::wait() {
  State& state = *state_;
  {
    std::unique_lock lock(state.mutex);
    const auto failed = [](const auto& shard) { return shard->failed(); };
    state.changed.wait(lock, [&] {
      return state.end_at || state.all_ended() || std::any_of(state.shards.begin(), state.shards.end(), failed);
    });
  }
  stop();
  Ended ended;
  {
    std::unique_lock lock(state.mutex);
    ended.joined = state.changed.wait_until(lock, *state.end_at, [&] { return state.all_ended(); });
  }
  for (const auto& shard : state.shards) {
    ended.open += shard->open();
    if (!shard->ended()) continue;
    if (shard->left_running()) ended.joined = false;
    ended.settled += shard->settled();
    if (!shard->failure() || !ended.failure.empty()) continue;
    try {
      std::rethrow_exception(shard->failure());
    } catch (const Refused& error) {
      ended.failure = error.what();
      ended.for_good = true;
    } catch (const std::exception& error) {
      ended.failure = error.what();
    } catch (...) {
      ended.failure = "a shard threw something that is no std::exception";
    }
  }
  // Who would not end looks at the state for ever; the process is about to end.
  if (!ended.joined) new std::shared_ptr<State>(state_);
  return ended;
}

}  // namespace weir::worker
