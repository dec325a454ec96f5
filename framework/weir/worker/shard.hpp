#pragma once

/// One thread of a worker, with its own loop, session, window and handlers. Shards share nothing.

#include <atomic>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "weir/async/task.hpp"
#include "weir/engine/engine.hpp"
#include "weir/handler/plugin.hpp"
#include "weir/worker/plugin_code.hpp"
#include "weir/worker/pulse.hpp"
#include "weir/worker/registry.hpp"
#include "weir/worker/settings.hpp"
#include "weir/worker/slots.hpp"

namespace weir::worker {

/// Registers a shard's handlers. Called once per shard, on the shard's thread.
using Registration = std::function<void(Plugin&)>;

/// The time after a drain's limit, in which handlers take their cancellation, and settlements are confirmed.
inline constexpr Duration drain_last = std::chrono::seconds(5);

class Shard {
 public:
  /// The objects that the shards share. All outlive the shards.
  struct Home {
    const GroupSettings& settings;
    const ProcessToken& process;
    engine::Engine& engine;
    const Registration& registration;
    const Pulse& pulse;
    recorder::Recorder& recorder;
    /// Called on the shard's thread when the shard ends, drained or failed.
    std::function<void()> ended;
  };

  Shard(Home home, std::uint32_t index);
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  /// Joins the thread, so destroy a shard only once it has ended.
  ~Shard();

  /// Starts the thread and waits until its handlers are registered. Throws: what the registration throws;
  /// handler::PluginError if the registration has an error. The shard takes messages only after go().
  void start();
  void go();
  /// Begins to drain (rules: take no more, release what has not started, wait at most `limit` for what has, cancel the
  /// rest, flush). Once. Thread: any.
  void drain(Duration limit);

  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  /// True if it has failed: the worker must drain. Thread: any.
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }
  /// The reason why it ended, unless it was drained. Call it only once the shard has ended.
  [[nodiscard]] std::exception_ptr failure() const { return failure_; }
  /// The number of deliveries that are not settled, and of settlements that are not confirmed, at the last turn that
  /// counted them. Thread: any.
  [[nodiscard]] std::uint64_t open() const { return open_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint32_t index() const { return index_; }
  /// One of its handlers is stuck and may never end. So the shard says no goodbye to the engine: a goodbye would return
  /// its deliveries before the culprit is named. Thread: any.
  void give_up() { given_up_.store(true, std::memory_order_release); }
  [[nodiscard]] bool given_up() const { return given_up_.load(std::memory_order_acquire); }
  /// The types of its handlers, by their number. Thread: any, from start() on.
  [[nodiscard]] const std::vector<std::string>& types() const { return types_; }
  /// True if a handler would not end. Call it only once the shard has ended.
  [[nodiscard]] bool left_running() const { return left_running_; }
  /// The shard's settlements. Call it only once the shard has ended.
  [[nodiscard]] const Settled& settled() const { return slots_->settler().settled(); }

 private:
  void run(std::promise<void> registered);
  void set_up();
  task<> receive();
  task<> drain_in(Duration limit);
  task<> wait_until(std::chrono::steady_clock::time_point end, task<> work);
  void fail(const std::exception_ptr& thrown);
  void count_open();

  Home home_;
  std::uint32_t index_;
  Pulse::Watch watch_;
  std::unique_ptr<Slots> slots_;  // it outlives the loop, which may hold its coroutines
  asio::cancellation_signal stop_receiving_;
  asio::io_context loop_{1};
  PluginCode code_{loop_};
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<engine::Session> session_;
  std::vector<std::string> types_;
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> given_up_{false};
  std::atomic<std::uint64_t> open_{0};
  std::atomic<bool> ended_{false};
  bool draining_ = false;
  bool left_running_ = false;
  std::thread thread_;
};

}  // namespace weir::worker
