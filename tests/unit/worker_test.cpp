#include "weir/worker/worker.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <mutex>
#include <set>
#include <thread>

#include "weir/engine/memory/memory_broker.hpp"
#include "weir/handler.hpp"
#include "weir/publisher/publisher.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Waits for what other threads bring about.
template <class Condition>
bool comes_true(Condition condition, std::chrono::steady_clock::duration limit = 10s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// memory://'s broker, and whoever publishes to it.
class Broker {
 public:
  Broker() {
    broker::core::Config config;
    config.session_timeout = 10s;
    config.message_most = Bytes{256 * 1024};
    QueuePolicy policy;
    policy.attempts = 2;
    policy.backoff.first = 10ms;
    policy.backoff.jitter = 0;
    config.queues = {{"orders", policy}, {"emails", policy}};
    broker_ = std::make_shared<engine::memory::MemoryBroker>(std::move(config));
    engine_ = engine::memory::make_engine(broker_);
  }
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  [[nodiscard]] engine::memory::MemoryBroker& broker() { return *broker_; }

  void publish(const std::string& queue, int count, const std::string& payload = "x") {
    asio::io_context loop(1);
    Publisher publisher(*engine_, loop.get_executor());
    std::exception_ptr failed;
    asio::co_spawn(loop, send(publisher, queue, count, payload), [&](const std::exception_ptr& thrown) {
      failed = thrown;
      loop.stop();
    });
    loop.run();
    if (failed) std::rethrow_exception(failed);
  }
  [[nodiscard]] v1::Queues::Queue queue(const std::string& name) {
    const v1::Queues all = broker_->queues();
    for (const auto& each : all.queues()) {
      if (each.name() == name) return each;
    }
    return {};
  }

 private:
  static task<> send(Publisher& publisher, std::string queue, int count, std::string payload) {
    for (int i = 0; i < count; ++i) co_await publisher.send(queue, "text", payload);
    co_await publisher.flush();
  }

  std::shared_ptr<engine::memory::MemoryBroker> broker_;
  std::unique_ptr<engine::Engine> engine_;
};

GroupSettings group(std::vector<std::string> queues = {"orders"}) {
  GroupSettings settings;
  settings.name = "shop";
  settings.queues = std::move(queues);
  settings.window = {Messages{16}, Bytes{1 << 20}};
  settings.drain = 5s;
  return settings;
}

task<> never(Context&, std::string_view) { co_await weir::sleep(24h); }

TEST(AWorker, HandlesWhatIsPublishedAndSettlesAllBeforeItEnds) {
  Broker broker;
  std::atomic<int> handled{0};
  Worker worker(group(), random_token(), broker.engine(), [&](Plugin& plugin) {
    plugin.on_raw("orders", "text", [&](Context&, std::string_view) -> task<> {
      ++handled;
      co_return;
    });
  });
  worker.start();

  broker.publish("orders", 1000);
  EXPECT_TRUE(comes_true([&] { return handled == 1000; }));
  worker.stop();
  const Ended ended = worker.wait();

  EXPECT_EQ(ended.exit_code(), 0);
  EXPECT_EQ(ended.open, 0U);
  EXPECT_EQ(ended.settled.acked, 1000U);
  EXPECT_EQ(broker.queue("orders").acked(), 1000U);
}

TEST(AWorker, RegistersItsHandlersOnceAShardOnThatShardsThread) {
  Broker broker;
  GroupSettings settings = group();
  settings.shards = 3;
  std::mutex mutex;
  std::set<std::thread::id> registered;
  std::set<std::thread::id> ran;
  std::atomic<int> handled{0};
  Worker worker(settings, random_token(), broker.engine(), [&](Plugin& plugin) {
    const std::scoped_lock lock(mutex);
    registered.insert(std::this_thread::get_id());
    const auto home = std::this_thread::get_id();
    plugin.on_raw("orders", "text", [&, home](Context&, std::string_view) -> task<> {
      if (home == std::this_thread::get_id()) ++handled;
      co_return;
    });
  });
  worker.start();
  EXPECT_THAT(registered, SizeIs(3));

  broker.publish("orders", 300);
  EXPECT_TRUE(comes_true([&] { return handled == 300; }));
}

TEST(AWorker, OutputsLeaveTogetherWithTheAck) {
  Broker broker;
  std::atomic<int> emails{0};
  Worker worker(group({"orders", "emails"}), random_token(), broker.engine(), [&](Plugin& plugin) {
    plugin.on_raw("orders", "text", [](Context& ctx, std::string_view payload) -> task<> {
      ctx.publish_raw("emails", "text", payload);
      co_return;
    });
    plugin.on_raw("emails", "text", [&](Context&, std::string_view payload) -> task<> {
      if (payload == "hello") ++emails;
      co_return;
    });
  });
  worker.start();

  broker.publish("orders", 100, "hello");

  EXPECT_TRUE(comes_true([&] { return emails == 100; }));
}

TEST(AttemptsEnd, WhatTimesOutIsRetriedAndThenADeadLetterWithItsHistory) {
  Broker broker;
  GroupSettings settings = group();
  settings.timeout = 20ms;
  Worker worker(settings, random_token(), broker.engine(),
                [](Plugin& plugin) { plugin.on_raw("orders", "text", never); });
  worker.start();

  broker.publish("orders", 1);
  ASSERT_TRUE(comes_true([&] { return broker.queue("orders").dead() == 1; }));

  const auto dead = broker.broker().dead("orders");
  ASSERT_EQ(dead.size(), 1U);
  ASSERT_EQ(dead[0].history_size(), 2);
  for (const v1::Attempt& each : dead[0].history()) {
    EXPECT_EQ(each.error(), "timed out after 20ms");
    EXPECT_GE(each.duration_us(), 20'000U);
    EXPECT_THAT(each.worker(), HasSubstr("shop"));
  }
}

TEST(AttemptsEnd, ARejectedMessageIsADeadLetterAtOnce) {
  Broker broker;
  Worker worker(group(), random_token(), broker.engine(), [](Plugin& plugin) {
    plugin.on_raw("orders", "text", [](Context&, std::string_view) -> task<End> { co_return rejected("no items"); });
  });
  worker.start();

  broker.publish("orders", 1);
  ASSERT_TRUE(comes_true([&] { return broker.queue("orders").dead() == 1; }));

  const auto dead = broker.broker().dead("orders");
  ASSERT_EQ(dead[0].history_size(), 1);
  EXPECT_EQ(dead[0].summary().last_error(), "no items");
}

TEST(TheWindowHolds, WithHandlersThatNeverFinish) {
  Broker broker;
  std::atomic<int> started{0};
  GroupSettings settings = group();
  settings.drain = 0s;
  Worker worker(settings, random_token(), broker.engine(), [&](Plugin& plugin) {
    plugin.on_raw("orders", "text", [&](Context& ctx, std::string_view payload) {
      ++started;
      return never(ctx, payload);
    });
  });
  worker.start();

  broker.publish("orders", 5000);
  ASSERT_TRUE(comes_true([&] { return started == 16; }));

  // Nothing more comes, however long the backlog.
  EXPECT_FALSE(comes_true([&] { return started > 16 || broker.queue("orders").leased() > 16; }, 200ms));
  EXPECT_EQ(broker.queue("orders").leased(), 16U);
}

TEST(Drain, ReleasesWhatHasNotStartedAndWhatWillNotEnd) {
  Broker broker;
  std::atomic<int> started{0};
  GroupSettings settings = group();
  settings.concurrency = 4;
  settings.drain = 50ms;
  Worker worker(settings, random_token(), broker.engine(), [&](Plugin& plugin) {
    plugin.on_raw("orders", "text", [&](Context& ctx, std::string_view payload) {
      ++started;
      return never(ctx, payload);
    });
  });
  worker.start();
  broker.publish("orders", 100);
  ASSERT_TRUE(comes_true([&] { return started == 4; }));

  worker.stop();
  const Ended ended = worker.wait();

  EXPECT_EQ(ended.exit_code(), 0);
  EXPECT_EQ(ended.settled.released, 16U);
  EXPECT_EQ(broker.queue("orders").ready(), 100U);
  EXPECT_EQ(broker.queue("orders").leased(), 0U);
  EXPECT_EQ(broker.queue("orders").retried(), 0U);
  EXPECT_EQ(started, 4);
}

TEST(Drain, WaitsForWhatRuns) {
  Broker broker;
  std::atomic<bool> started{false};
  Worker worker(group(), random_token(), broker.engine(), [&](Plugin& plugin) {
    plugin.on_raw("orders", "text", [&](Context&, std::string_view) -> task<> {
      started = true;
      co_await weir::sleep(100ms);
    });
  });
  worker.start();
  broker.publish("orders", 1);
  ASSERT_TRUE(comes_true([&] { return started.load(); }));

  worker.stop();
  const Ended ended = worker.wait();

  EXPECT_EQ(ended.exit_code(), 0);
  EXPECT_EQ(ended.settled.acked, 1U);
}

TEST(AWorker, ThatTheEngineRefusesEndsWithItsReason) {
  Broker broker;
  Worker worker(group({"nowhere"}), random_token(), broker.engine(),
                [](Plugin& plugin) { plugin.on_raw("nowhere", "text", never); });
  worker.start();

  const Ended ended = worker.wait();

  EXPECT_EQ(ended.exit_code(), 2);
  EXPECT_THAT(ended.failure, HasSubstr("nowhere"));
}

TEST(AWorker, WhoseRegistrationIsWrongNeverStarts) {
  Broker broker;
  GroupSettings settings = group();
  settings.shards = 2;
  Worker worker(settings, random_token(), broker.engine(), [](Plugin& plugin) {
    if (plugin.shard() == 1) throw std::runtime_error("no such file: model.bin");
    plugin.on_raw("orders", "text", never);
  });
  try {
    worker.start();
    FAIL() << "started";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no such file: model.bin");
  }
}

TEST(AWorker, GoesOnAfterItsBrokersRestart) {
  Broker broker;
  std::atomic<int> handled{0};
  Worker worker(group(), random_token(), broker.engine(), [&](Plugin& plugin) {
    plugin.on_raw("orders", "text", [&](Context&, std::string_view) -> task<> {
      ++handled;
      co_await weir::sleep(1ms);
    });
  });
  worker.start();
  broker.publish("orders", 50);
  for (int i = 0; i < 3; ++i) {
    broker.broker().restart();
    broker.publish("orders", 50);
  }

  EXPECT_TRUE(comes_true([&] { return broker.queue("orders").acked() >= 200; }));
  EXPECT_EQ(handled, 200);
  EXPECT_EQ(broker.queue("orders").dead(), 0U);
}

}  // namespace
}  // namespace weir::worker
