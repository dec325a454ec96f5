#pragma once

/// A worker: the shards of one group in this process.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/message/ids.hpp"
#include "weir/worker/pulse.hpp"
#include "weir/worker/settings.hpp"
#include "weir/worker/shard.hpp"

namespace weir::worker {

/// How a worker ended.
struct Ended {
  /// Empty if it was drained.
  std::string failure;
  /// True if no restart mends the failure: an unknown queue, a protocol version.
  bool for_good = false;
  /// The number of settlements that were not confirmed, and of deliveries that were not settled.
  std::uint64_t open = 0;
  /// False if a handler would not end, as it ignores its cancellation, or never awaits. It may run on, so no object of
  /// the process may be destroyed: call _Exit.
  bool joined = true;
  Settled settled;
  /// 0 if everything was settled and confirmed, else 1; 2 if `for_good`.
  [[nodiscard]] int exit_code() const { return for_good ? 2 : !failure.empty() || open > 0 || !joined ? 1 : 0; }
};

/// Returns the size of the group's flight recorder.
[[nodiscard]] recorder::Recorder::Size recorder_size(const GroupSettings& settings);

class Worker {
 public:
  /// `engine` and `recorder` outlive it. `recorder` has a line for each of its slots.
  Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, recorder::Recorder& recorder,
         Registration registration);
  /// Makes a recorder of its own, which no other process reads.
  Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, Registration registration);
  ~Worker();

  /// Registers the handlers in all shards, then takes messages. Throws: handler::PluginError, and what the registration
  /// throws; then no shard runs.
  void start();
  /// Begins to drain, once. Thread: any.
  void stop();
  /// A handler of `shard` is stuck: all shards drain, for at most `limit`. Then wait() returns, with `joined` false
  /// unless that handler has ended after all. If `blocked`, the loop of `shard` is blocked, and wait() does not wait
  /// for it. Thread: any.
  void give_up(std::uint32_t shard, bool blocked, Duration limit, std::string why);
  /// Waits until the worker has ended by stop(), or because a shard failed. After stop() it waits at most drain + 5 s.
  [[nodiscard]] Ended wait();
  /// `told` is called on a shard's thread when wait() will not block any more, or when a shard failed. Set it before
  /// start().
  void on_ending(std::function<void()> told);

  [[nodiscard]] Pulse& pulse();
  /// Returns the types of a shard's handlers, by their number. Call it after start().
  [[nodiscard]] const std::vector<std::string>& types() const;
  [[nodiscard]] const GroupSettings& settings() const;
  [[nodiscard]] const ProcessToken& process() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // a shard that would not end keeps it alive
};

}  // namespace weir::worker
