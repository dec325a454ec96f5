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
  /// Empty: it was drained.
  std::string failure;
  /// The failure is one that no restart mends: an unknown queue, a protocol version.
  bool for_good = false;
  /// Settlements that were not confirmed, and deliveries that were not settled.
  std::uint64_t open = 0;
  /// False: a handler would not end; it ignores its cancellation, or never awaits. It may run on, so nothing of the
  /// process must be torn down: _Exit.
  bool joined = true;
  Settled settled;
  /// 0 if everything was settled and confirmed, else 1; 2 if `for_good`.
  [[nodiscard]] int exit_code() const { return for_good ? 2 : !failure.empty() || open > 0 || !joined ? 1 : 0; }
};

/// How large the group's flight recorder is.
[[nodiscard]] recorder::Recorder::Size recorder_size(const GroupSettings& settings);

class Worker {
 public:
  /// `engine` and `recorder`, which has a line for each of its slots, outlive it.
  Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, recorder::Recorder& recorder,
         Registration registration);
  /// With a recorder of its own, which nobody else reads.
  Worker(GroupSettings settings, ProcessToken process, engine::Engine& engine, Registration registration);
  ~Worker();

  /// Registers the handlers in all shards, then takes messages. Throws: handler::PluginError, and what the registration
  /// throws; nothing runs then.
  void start();
  /// Begins to drain, once. Thread: any.
  void stop();
  /// A handler of that shard is stuck: all drain, for at most `limit`; then wait() returns, with `joined` false unless
  /// that handler has ended after all. Is its loop `blocked`, that shard is not waited for. Thread: any.
  void give_up(std::uint32_t shard, bool blocked, Duration limit, std::string why);
  /// Waits until it has ended: stopped, or a shard has failed. After stop() at most drain + 5 s.
  [[nodiscard]] Ended wait();
  /// Told (from a shard's thread) when wait() will not block any more, or a shard failed. Set before start().
  void on_ending(std::function<void()> told);

  [[nodiscard]] Pulse& pulse();
  /// Of a shard's handlers, by their number. After start().
  [[nodiscard]] const std::vector<std::string>& types() const;
  [[nodiscard]] const GroupSettings& settings() const;
  [[nodiscard]] const ProcessToken& process() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // a shard that would not end keeps it alive
};

}  // namespace weir::worker
