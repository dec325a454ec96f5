// Delivery ahead of the commit: what may be said and forgotten before anything is on disk, and what may not.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection worker = 1;
constexpr Connection publisher = 2;
constexpr Connection other = 3;

/// A worker that is noted, a publisher that has its credit, a lane whose mark is on disk; and then a commit under way,
/// so that what is published now is gathered for the next.
struct Ahead : Broker {
  explicit Ahead(QueuePolicy policy = {}) : Broker({{"orders", policy}, {"emails", policy}}) {
    attach(worker, token(1));
    open_publisher(publisher);
    commit();
    publish(publisher, 1, 1);
    commit();
    settle(worker, deliveries(worker).back().lease(), 1, v1::ACK);
    commit();
    inbox.clear();
    keep_busy();
  }
  /// Something else is being written.
  void keep_busy() {
    attach(other, token(2), 0, {}, {}, "emails");
    ASSERT_TRUE(seal());
  }
  std::size_t stored() {
    const v1::Delivery last = deliveries(worker).back();
    return store.snapshot()->segment({last.queue(), default_lane, last.segment()}) ? 1 : 0;
  }
  std::uint64_t lease() { return deliveries(worker).back().lease(); }
};

TEST(Ahead, AMessageIsDeliveredBeforeItsCommit) {
  Ahead broker;

  broker.publish(publisher, 2, 3);

  EXPECT_EQ(broker.delivered(worker), 3U);
  EXPECT_EQ(broker.confirmed(publisher), 0U);
}

TEST(Ahead, WhatIsAckedBeforeItsCommitIsConfirmedAtOnceAndNeverWritten) {
  Ahead broker;
  broker.publish(publisher, 2, 3);

  broker.settle(worker, broker.lease(), 3, v1::ACK);

  EXPECT_EQ(broker.confirmed(publisher), 3U);
  broker.finish_commit();
  broker.commit();
  EXPECT_EQ(broker.stored(), 0U);
  EXPECT_EQ(broker.queue().acked(), 4U);
  EXPECT_EQ(broker.queue().ready() + broker.queue().leased(), 0U);
  EXPECT_EQ(broker.confirmed(publisher), 3U);  // once
}

TEST(Ahead, APublisherHearsOfNothingUnwrittenBeforeItIsKnownOnDisk) {
  Ahead broker;
  constexpr Connection newcomer = 4;
  broker.open_publisher(newcomer, 8);
  broker.publish(newcomer, 1, 1);

  broker.settle(worker, broker.lease(), 1, v1::ACK);

  EXPECT_EQ(broker.confirmed(newcomer), 0U);  // or the next broker would not know whom it talks to
  broker.finish_commit();
  broker.commit();
  EXPECT_EQ(broker.confirmed(newcomer), 1U);
  EXPECT_EQ(broker.stored(), 0U);
  broker.restart();
  broker.open_publisher(newcomer, 8, 2);
  EXPECT_TRUE(broker.last(newcomer).welcome().publisher_known());
}

TEST(Ahead, WhatIsAckedInPartIsWrittenWholeAndConfirmedByItsCommit) {
  Ahead broker;
  broker.publish(publisher, 2, 3);

  broker.settle(worker, broker.lease(), 2, v1::ACK);

  EXPECT_EQ(broker.confirmed(publisher), 0U);
  broker.finish_commit();
  broker.commit();
  EXPECT_EQ(broker.stored(), 1U);
  EXPECT_EQ(broker.confirmed(publisher), 3U);
  broker.restart();
  EXPECT_EQ(broker.queue().ready() + broker.queue().leased(), 1U);
}

TEST(Ahead, AnAckWithOutputsConfirmsThePublishOnlyByTheirCommit) {
  Ahead broker;
  broker.publish(publisher, 2, 1);
  v1::Frame frame;
  auto* run = frame.mutable_settle()->add_runs();
  run->set_lease(broker.lease());
  run->set_count(1);
  run->set_outcome(v1::ACK);
  auto* group = frame.mutable_settle()->add_outputs();
  group->set_queue(2);
  group->add_source(broker.lease());
  group->mutable_index()->add_lengths(4);
  group->mutable_index()->add_types("Mail");

  broker.say(worker, std::move(frame), "mail");

  EXPECT_EQ(broker.confirmed(publisher), 0U);
  broker.finish_commit();
  EXPECT_EQ(broker.confirmed(publisher), 0U);
  broker.commit();
  EXPECT_EQ(broker.confirmed(publisher), 1U);
  EXPECT_EQ(broker.stored(), 0U);  // the message itself leaves nothing
  broker.restart();
  EXPECT_EQ(broker.queue(1).ready(), 1U);
}

TEST(Ahead, ARetryOfWhatIsNotOnDiskYetIsWrittenWithItsMessage) {
  Ahead broker;
  broker.publish(publisher, 2, 2);

  broker.settle(worker, broker.lease(), 1, v1::RETRY, 0);
  broker.settle(worker, broker.lease() + 1, 1, v1::ACK);

  EXPECT_EQ(broker.confirmed(publisher), 0U);
  broker.finish_commit();
  broker.commit();
  EXPECT_EQ(broker.confirmed(publisher), 2U);
  broker.restart();
  EXPECT_EQ(broker.queue().ready() + broker.queue().delayed() + broker.queue().leased(), 1U);
}

TEST(Ahead, AReleasedMessageIsDeliveredAgainStillAhead) {
  Ahead broker;
  broker.publish(publisher, 2, 1);

  broker.settle(worker, broker.lease(), 1, v1::RELEASE);

  EXPECT_EQ(broker.delivered(worker), 2U);
}

TEST(Ahead, SmallFramesShareASegmentUntilSomebodyHasCredit) {
  Ahead broker;
  for (std::uint64_t number = 2; number <= 101; ++number) broker.publish(publisher, number, 1);  // fills the window
  const std::size_t deliveries = broker.deliveries(worker).size();
  for (std::uint64_t number = 102; number <= 111; ++number) broker.publish(publisher, number, 1);

  broker.settle(worker, broker.deliveries(worker).front().lease(), 100, v1::ACK);

  EXPECT_EQ(broker.deliveries(worker).size(), deliveries + 1);
  EXPECT_EQ(broker.deliveries(worker).back().index().lengths_size(), 10);
}

TEST(Ahead, ARestartKnowsNothingOfWhatWasNotWrittenAndGivesItsPlaceToNobody) {
  Ahead broker;
  broker.publish(publisher, 2, 1);
  const v1::Delivery held = broker.deliveries(worker).back();
  broker.restart();
  broker.attach(worker, token(1), 100, {broker.claim_of(held, 1)});

  EXPECT_TRUE(broker.last(worker).welcome().claims(0).stale());

  broker.open_publisher(publisher, 7, 2);
  broker.publish(publisher, 2, 1);  // nobody had confirmed it
  broker.commit();
  EXPECT_EQ(broker.confirmed(publisher), 1U);
  EXPECT_GT(broker.deliveries(worker).back().segment(), held.segment());
}

TEST(Ahead, WhatWasConfirmedUnwrittenIsConfirmedAgainWhenItIsSentAgain) {
  Ahead broker;
  broker.publish(publisher, 2, 2);
  broker.settle(worker, broker.lease(), 2, v1::ACK);
  broker.inbox[publisher].clear();

  broker.open_publisher(4, 7, 2);  // the confirmation was lost with its connection
  broker.publish(4, 2, 2);

  EXPECT_EQ(broker.confirmed(4), 2U);
  EXPECT_EQ(broker.delivered(worker), 2U);
  broker.finish_commit();
  broker.commit();
  EXPECT_EQ(broker.queue().published(), 3U);
}

TEST(Ahead, AQueueThatDoesNotAllowItWaitsForTheDisk) {
  Ahead broker(written_first());

  broker.publish(publisher, 2, 1);

  EXPECT_EQ(broker.delivered(worker), 0U);
  broker.finish_commit();
  broker.commit();
  EXPECT_EQ(broker.delivered(worker), 1U);
}

TEST(Ahead, NothingRunsAheadWhileTheStoreIsInItsReserve) {
  Ahead broker;
  Actions actions;
  broker.core->room(broker.now, false, actions);
  broker.carry_out(actions);

  broker.publish(publisher, 2, 1);  // sent before the publisher heard of it

  EXPECT_EQ(broker.delivered(worker), 0U);
}

TEST(Ahead, ASlowDiskHoldsNobodyUp) {
  Ahead broker;  // a commit is under way all the time
  std::uint64_t number = 2;
  for (int round = 0; round < 1000; ++round, number += 10) {
    broker.publish(publisher, number, 10);
    broker.settle(worker, broker.lease(), 10, v1::ACK);
  }

  EXPECT_EQ(broker.confirmed(publisher), 10'000U);
}

}  // namespace
}  // namespace weir::broker::core::testing
