#include "weir/worker/worker.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <utility>

#include "weir/telemetry/log.hpp"

namespace weir::worker {

recorder::Recorder::Size recorder_size(const GroupSettings& settings) {
  return {.shards = settings.shards, .slots = slots_most(settings), .queues = settings.queues};
}

struct Worker::State {
  State(GroupSettings group, ProcessToken token, engine::Engine& of, recorder::Recorder& into,
        Registration register_all)
      : settings(std::move(group)), process(token), engine(of), recorder(into), registration(std::move(register_all)) {}

  const GroupSettings settings;
  const ProcessToken process;
  engine::Engine& engine;
  recorder::Recorder& recorder;
  std::unique_ptr<recorder::Recorder> own_recorder;
  const Registration registration;
  Pulse pulse;
  std::function<void()> told;

  std::mutex mutex;
  std::condition_variable changed;
  std::optional<std::chrono::steady_clock::time_point> end_at;  ///< set once it drains
  std::string stuck;                                            ///< why a shard was given up
  std::set<std::uint32_t> blocked;                              ///< the shards whose loop may never turn again

  std::vector<std::unique_ptr<Shard>> shards;  // last, as their threads use the other members

  [[nodiscard]] bool all_ended() const {
    return std::all_of(shards.begin(), shards.end(), [](const auto& each) { return each->ended(); });
  }
  [[nodiscard]] bool all_but_the_blocked_ended() const {
    return std::all_of(shards.begin(), shards.end(),
                       [&](const auto& each) { return each->ended() || blocked.contains(each->index()); });
  }
  void stop(Duration drain) {
    {
      const std::scoped_lock lock(mutex);
      if (end_at) return;
      end_at = std::chrono::steady_clock::now() + drain + drain_last;
      changed.notify_all();
    }
    for (const auto& each : shards) each->drain(drain);
  }
};

Worker::Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, recorder::Recorder& recorder,
               Registration registration)
    : state_(std::make_shared<State>(std::move(settings), process, engine, recorder, std::move(registration))) {}

Worker::Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, Registration registration) {
  auto own = std::make_unique<recorder::Recorder>(recorder_size(settings));
  state_ = std::make_shared<State>(std::move(settings), process, engine, *own, std::move(registration));
  state_->own_recorder = std::move(own);
}

Worker::~Worker() {
  stop();
  (void)wait();
}

Pulse& Worker::pulse() { return state_->pulse; }
const GroupSettings& Worker::settings() const { return state_->settings; }
const ProcessToken& Worker::process() const { return state_->process; }
void Worker::on_ending(std::function<void()> told) { state_->told = std::move(told); }

// All shards have the same handlers.
const std::vector<std::string>& Worker::types() const { return state_->shards.front()->types(); }

void Worker::start() {
  State& state = *state_;
  // Captures neither `this` nor a shared_ptr: the state owns the shards, which join before it is destroyed.
  const auto ended = [&state] {
    // Wakes wait(), which looks for a failed shard, or for the end of the last one.
    {
      const std::scoped_lock lock(state.mutex);
      state.changed.notify_all();
    }
    if (state.told) state.told();
  };
  for (std::uint32_t i = 0; i < state.settings.shards; ++i) {
    auto shard = std::make_unique<Shard>(Shard::Home{state.settings, state.process, state.engine, state.registration,
                                                     state.pulse, state.recorder, ended},
                                         i);
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

void Worker::stop() { state_->stop(state_->settings.drain); }

void Worker::give_up(std::uint32_t shard, bool blocked, Duration limit, std::string why) {
  State& state = *state_;
  state.shards[shard]->give_up();
  {
    const std::scoped_lock lock(state.mutex);
    state.stuck = std::move(why);
    if (blocked) state.blocked.insert(shard);
    state.changed.notify_all();
  }
  state.stop(std::min(limit, state.settings.drain));
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
    state.changed.wait_until(lock, *state.end_at, [&] { return state.all_but_the_blocked_ended(); });
    ended.joined = state.all_ended();
    if (!ended.joined) ended.failure = state.stuck;
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
  // A handler that would not end may use the state for ever. The process is about to end.
  if (!ended.joined) new std::shared_ptr<State>(state_);
  return ended;
}

}  // namespace weir::worker
