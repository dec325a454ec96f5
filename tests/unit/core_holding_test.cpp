// How long a commit waits for work that makes it needless (broker/core/holding.cpp), and how publishers' windows go
// with it.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection worker = 1;
constexpr Connection publisher = 2;
constexpr std::uint64_t window = 1000;

/// A worker that is noted, a publisher that has its credit, and a lane whose mark is on disk; nothing is left to write.
struct Quick : Broker {
  Quick() : Broker({QueueConfig{"orders", {}}}) {
    attach(worker, token(1), window, {}, {}, "orders", "T");
    open_publisher(publisher);
    first_told = last(publisher).welcome().queues(0).window().messages();
    commit();
    publish(publisher, ++number, 1);
    commit();
    settle(worker, deliveries(worker).back().lease(), 1, v1::ACK);
    commit();
    inbox.clear();
  }
  void publish_one() { publish(publisher, ++number, 1); }
  std::uint64_t lease() { return deliveries(worker).back().lease(); }
  /// How long from now; nothing if there is nothing to write.
  std::optional<Duration> due() {
    const Instant at = core->commit_due();
    if (at == Instant::max()) return std::nullopt;
    return std::max(Duration{0}, at == Instant::min() ? Duration{0} : at - now.instant);
  }
  /// The newest window that the publisher was told.
  std::uint64_t told() {
    std::uint64_t messages = first_told;
    for (const auto& frame : inbox[publisher]) {
      if (frame.has_window()) messages = frame.window().messages();
    }
    return messages;
  }
  /// A message of which the handler takes so long.
  void handle_one(Duration takes) {
    publish_one();
    const std::uint64_t its = lease();
    for (Duration passed{0}; passed < takes; passed += 1ms) {
      pass(1ms);
      if (due() == Duration{0}) commit();
    }
    settle(worker, its, 1, v1::ACK);
    commit();
  }
  std::uint64_t number = 0;
  std::uint64_t first_told{};
};

TEST(Holding, APublishThatWasDeliveredWaitsTenMillisecondsForItsAck) {
  Quick broker;
  EXPECT_EQ(broker.due(), std::nullopt);

  broker.publish_one();

  EXPECT_EQ(broker.due(), 10ms);
  broker.pass(4ms);
  EXPECT_EQ(broker.due(), 6ms);
  broker.pass(6ms);
  EXPECT_EQ(broker.due(), 0ms);
}

TEST(Holding, AnAckInTimeLeavesOnlyCountsToWriteWhichWaitLonger) {
  Quick broker;
  broker.publish_one();
  broker.pass(1ms);

  broker.settle(worker, broker.lease(), 1, v1::ACK);

  EXPECT_EQ(broker.confirmed(publisher), 1U);
  EXPECT_EQ(broker.due(), 19ms);  // 20 since the first of them
}

TEST(Holding, WhatSomebodyWaitsForIsDueAtOnce) {
  Quick broker;
  broker.publish_one();
  broker.settle(worker, broker.lease(), 1, v1::RETRY, 0);
  EXPECT_EQ(broker.due(), 0ms);  // a retry
  broker.commit();

  broker.attach(3, token(2));
  EXPECT_EQ(broker.due(), 0ms);  // a session that is to be noted
  broker.commit();

  broker.publish(publisher, ++broker.number, 1, 1000);
  EXPECT_EQ(broker.due(), 0ms);  // a delayed message
}

TEST(Holding, NobodyWaitsWhereNoWorkerIs) {
  Broker broker({QueueConfig{"orders", {}}});
  broker.open_publisher(publisher);
  broker.commit();

  broker.publish(publisher, 1, 1);

  EXPECT_EQ(broker.core->commit_due(), Instant::min());
}

TEST(Holding, NobodyWaitsInAQueueThatWritesFirst) {
  Broker broker;  // its queue says ahead: false
  broker.attach(worker, token(1), window);
  broker.open_publisher(publisher);
  broker.commit();

  broker.publish(publisher, 1, 1);

  EXPECT_EQ(broker.core->commit_due(), Instant::min());
}

TEST(Holding, AfterFourSlowHandlersInARowNobodyWaitsUntilOneIsQuickAgain) {
  Quick broker;
  for (int i = 0; i < 4; ++i) broker.handle_one(15ms);

  broker.publish_one();
  EXPECT_EQ(broker.due(), 0ms);
  broker.settle(worker, broker.lease(), 1, v1::ACK);  // at once
  broker.commit();

  broker.publish_one();
  EXPECT_EQ(broker.due(), 10ms);
}

TEST(Holding, ASlowHandlerNowAndThenChangesNothing) {
  Quick broker;
  for (int i = 0; i < 12; ++i) broker.handle_one(i % 3 == 0 ? 1ms : 15ms);

  broker.publish_one();

  EXPECT_EQ(broker.due(), 10ms);
}

TEST(Holding, SlowIsSlowAlsoWhereOthersHaveEverythingSealed) {
  Quick broker;
  for (int i = 0; i < 4; ++i) {
    broker.publish_one();
    const std::uint64_t its = broker.lease();
    broker.commit();  // at once, for somebody else
    broker.pass(15ms);
    broker.settle(worker, its, 1, v1::ACK);
    broker.commit();
  }

  broker.publish_one();

  EXPECT_EQ(broker.due(), 0ms);
}

TEST(Holding, NobodyWaitsLongWhereNoWorkerTakesAnything) {
  Quick broker;
  for (int i = 0; i < 4; ++i) {
    broker.publish(publisher, ++broker.number, 1, 0, "stranger");
    EXPECT_EQ(broker.due(), 10ms);
    broker.pass(10ms);
    broker.commit();
  }

  broker.publish(publisher, ++broker.number, 1, 0, "stranger");

  EXPECT_EQ(broker.due(), 0ms);
}

TEST(Holding, NobodyWaitsForAWorkerThatIsCutOff) {
  Quick broker;
  Actions actions;
  broker.core->disconnected(broker.now, worker, actions);

  broker.publish_one();

  EXPECT_EQ(broker.due(), 0ms);
}

TEST(Holding, WhatIsDelayedIsNoBacklog) {
  Quick broker;
  for (int i = 0; i < 12; ++i) {
    broker.publish(publisher, broker.number + 1, 250, 3'600'000'000);
    broker.number += 250;
    broker.commit();
  }
  broker.pass(1s);

  EXPECT_EQ(broker.told(), 2 * window);
  broker.publish_one();
  EXPECT_EQ(broker.due(), 10ms);
}

TEST(Holding, NobodyWaitsBehindABacklogOnDisk) {
  Quick broker;
  for (int i = 0; i < 6; ++i) {
    broker.publish(publisher, broker.number + 1, 250);
    broker.number += 250;
    broker.commit();
  }

  broker.publish_one();

  EXPECT_EQ(broker.due(), 0ms);
}

TEST(Holding, APublisherMayHaveTwiceUnderWayOfWhatWorkersMayHold) {
  Quick broker;
  broker.pass(1s);
  EXPECT_EQ(broker.told(), 2 * window);

  // Less what is written and has not ended: never less than fills a frame.
  for (int i = 0; i < 8; ++i) {
    broker.publish(publisher, broker.number + 1, 250);
    broker.number += 250;
    broker.commit();
  }
  EXPECT_EQ(broker.told(), 256U);
}

TEST(Holding, APublisherToSlowHandlersHasTheWholeWindow) {
  Quick broker;
  broker.pass(1s);
  for (int i = 0; i < 4; ++i) broker.handle_one(15ms);
  broker.pass(1s);

  EXPECT_EQ(broker.told(), 16384U);
}

}  // namespace
}  // namespace weir::broker::core::testing
