#pragma once

/// A shard's slots without its thread, and handlers that wait.

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "scripted_session.hpp"
#include "weir/handler.hpp"
#include "weir/worker/plugin_code.hpp"
#include "weir/worker/slots.hpp"

namespace weir::test {

using namespace std::chrono_literals;
using worker::GroupSettings;
using worker::PluginCode;
using worker::Registry;
using worker::Running;
using worker::Slots;
using worker::slots_most;
namespace recorder = worker::recorder;

/// A shard without a thread: a test turns its loop.
class Rig {
 public:
  explicit Rig(std::uint64_t window = 8, std::optional<std::uint64_t> concurrency = {}) {
    settings.name = "test";
    settings.queues = {"orders"};
    settings.window = {Messages{window}, Bytes{1 << 20}};
    settings.concurrency = concurrency;
  }
  ~Rig() {
    if (!slots_) return;
    slots_->close();
    loop_.restart();
    loop_.poll();
  }

  template <class Function>
  void on(Function function, HandlerOptions options = {}, std::string_view type = "text") {
    registry().on_raw("orders", type, std::move(function), options);
  }
  Registry& registry() {
    if (!registry_) registry_.emplace(settings, 0, code_.executor());
    return *registry_;
  }
  recorder::Recorder& recorder() {
    if (!recorder_) recorder_.emplace(recorder::Recorder::Size{1, slots_most(settings), settings.queues});
    return *recorder_;
  }
  Slots& slots() {
    if (!slots_) {
      slots_ = std::make_unique<Slots>(loop_, settings, registry(), session, Running(recorder(), 0));
      code_.runs_in(*slots_);
    }
    return *slots_;
  }
  void deliver(engine::Batch batch) {
    asio::post(loop_, [this, kept = std::move(batch)]() mutable { slots().take(std::move(kept)); });
  }
  /// What is ready now.
  void turn() {
    loop_.restart();
    loop_.poll();
  }
  /// Until `count` were settled.
  void run_until_told(std::size_t count) {
    loop_.restart();
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (session.told.size() < count && std::chrono::steady_clock::now() < end) loop_.run_one_until(end);
    ASSERT_GE(session.told.size(), count);
  }
  asio::io_context& loop() { return loop_; }

  GroupSettings settings;
  test::ScriptedSession session;

 private:
  std::optional<recorder::Recorder> recorder_;
  std::unique_ptr<Slots> slots_;  // outlives the loop
  asio::io_context loop_{1};
  PluginCode code_{loop_};
  std::optional<Registry> registry_;
};

/// Handlers that wait until the test opens their gate.
class Gates {
 public:
  task<> wait() {
    return async::suspend([this](async::Suspended waiter) {
      auto slot = waiter.get_cancellation_slot();
      const auto at = waiting_.insert(waiting_.end(), std::move(waiter));
      slot.assign([this, at](asio::cancellation_type) {
        async::Suspended cancelled = std::move(*at);
        waiting_.erase(at);
        async::resume_later(std::move(cancelled), asio::error::operation_aborted);
      });
    });
  }
  void open_first() {
    async::Suspended first = std::move(waiting_.front());
    waiting_.pop_front();
    first.get_cancellation_slot().clear();
    async::resume_later(std::move(first));
  }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  std::list<async::Suspended> waiting_;
};

}  // namespace weir::test
