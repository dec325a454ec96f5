// Compaction: the last messages of a segment become records, and it goes; nothing else changes for them.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Connection publisher = 1;
constexpr Connection worker = 2;

/// A worker holds message 7 of 100, and has settled the others; all of it is on disk.
struct OneIsHeld : Broker {
  OneIsHeld() {
    config.compaction.freed_least = Bytes{0};
    start();
    give(100, worker, token(1));
    lease = deliveries(worker).front().lease() + 7;
    settle(worker, lease - 7, 7, v1::ACK);
    settle(worker, lease + 1, 92, v1::ACK);
    commit();
  }
  /// As long as it takes, with the process alive.
  void wait() { pass_alive(token(1), 25); }
  template <class Kind>
  std::vector<Kind> writes() {
    std::vector<Kind> found;
    for (const auto& write : sealed->writes) {
      if (const auto* one = std::get_if<Kind>(&write)) found.push_back(*one);
    }
    return found;
  }
  std::uint64_t lease{};
  Place place{1, 1, 7};
};

TEST(Compaction, WhatIsLeasedForLongLeavesItsSegmentInOneCommit) {
  OneIsHeld broker;
  broker.wait();

  ASSERT_TRUE(broker.seal());
  const auto moved = broker.writes<MoveMessage>();
  ASSERT_EQ(moved.size(), 1U);
  EXPECT_EQ(moved[0].place, broker.place);
  EXPECT_EQ(moved[0].attempts, 0U);
  EXPECT_EQ(broker.writes<DropSegment>().size(), 1U);
  broker.finish_commit();
  EXPECT_EQ(broker.queue().leased(), 1U);
  EXPECT_EQ(broker.queue().ready(), 0U);
  EXPECT_EQ(broker.queue().delayed(), 0U);
}

TEST(Compaction, ItsLeaseGoesOn) {
  OneIsHeld broker;
  broker.wait();
  broker.commit();

  broker.settle(worker, broker.lease, 1, v1::ACK);
  broker.commit();

  EXPECT_EQ(broker.stale(worker), 0U);
  EXPECT_EQ(broker.queue().acked(), 100U);
  EXPECT_FALSE(broker.store.snapshot()->record(broker.place));
}

TEST(Compaction, ItIsRetriedAsTheFirstAttemptOfThatMessage) {
  OneIsHeld broker;
  broker.wait();
  ASSERT_TRUE(broker.seal());  // its outcome comes while it is being written
  broker.settle(worker, broker.lease, 1, v1::RETRY);
  broker.finish_commit();
  broker.commit();

  const v1::Record record = broker.record(broker.place);
  EXPECT_EQ(record.attempts(), 1U);
  EXPECT_EQ(record.history_size(), 1);
}

TEST(Compaction, ReleasedBeforeItIsOnDiskItIsDeliveredAfterwards) {
  OneIsHeld broker;
  broker.wait();
  const auto before = broker.delivered(worker);
  ASSERT_TRUE(broker.seal());

  broker.settle(worker, broker.lease, 1, v1::RELEASE);
  EXPECT_EQ(broker.delivered(worker), before);  // it is in no segment, and no record yet
  broker.finish_commit();
  broker.commit();
  broker.pass(0s);

  ASSERT_EQ(broker.delivered(worker), before + 1);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 1U);
}

TEST(Compaction, AfterARestartItsWorkerClaimsIt) {
  OneIsHeld broker;
  broker.wait();
  broker.commit();
  broker.restart();
  v1::Claim claim;
  claim.set_queue(1);
  claim.set_segment(1);
  claim.set_first(7);
  claim.set_count(1);
  claim.set_incarnation(2);
  claim.set_lease(broker.lease);

  broker.attach(5, token(1), 100, {claim});

  const auto& welcome = broker.inbox[5].front().welcome();
  ASSERT_EQ(welcome.claims_size(), 1);
  EXPECT_FALSE(welcome.claims(0).stale());
  broker.settle(5, welcome.claims(0).lease(), 1, v1::ACK);
  broker.commit();
  EXPECT_EQ(broker.queue().acked(), 100U);
}

TEST(Compaction, ASegmentIsLeftWhereItIsWhileAnythingOfItIsReady) {
  Broker broker;
  broker.config.compaction.freed_least = Bytes{0};
  broker.start();
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 99);
  broker.say(publisher, broker.publish_frame(100, 1, 0, "nobody's"), std::string(10, 'x'));
  broker.commit();
  broker.attach(worker, token(1), 100, {}, {}, "orders", "T");
  broker.commit();
  ASSERT_EQ(broker.delivered(worker), 99U);
  broker.settle(worker, broker.deliveries(worker).front().lease(), 98, v1::ACK);
  broker.commit();
  broker.pass_alive(token(1), 25);
  broker.commit();

  EXPECT_EQ(broker.queue().ready(), 1U);
  EXPECT_FALSE(broker.store.snapshot()->record({1, 1, 98}));
  EXPECT_TRUE(broker.store.snapshot()->segment({1, default_lane, 1}));
}

TEST(Compaction, OneOfFewIsLeftWhereItIs) {
  Broker broker;  // as configured: 16 KiB must be gained
  broker.give(100, worker, token(1));
  broker.settle(worker, broker.deliveries(worker).front().lease(), 99, v1::ACK);
  broker.commit();
  broker.pass_alive(token(1), 25);
  broker.commit();

  EXPECT_TRUE(broker.store.snapshot()->segment({1, default_lane, 1}));
}

}  // namespace
}  // namespace weir::broker::core::testing
