// The broker's core: one test a rule.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;
constexpr Connection other = 3;

TEST(NothingConfirmedIsLost, APublishIsConfirmedByItsCommitAndNotBefore) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 3);
  ASSERT_TRUE(broker.seal());
  EXPECT_EQ(broker.confirmed(publisher), 0U);

  broker.finish_commit();

  EXPECT_EQ(broker.confirmed(publisher), 3U);
  EXPECT_EQ(broker.queue().ready(), 3U);
}

TEST(NothingConfirmedIsLost, ItIsDeliveredAfterARestart) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 300);
  // More than a group may hold: refused, and nothing of it is taken.
  EXPECT_EQ(broker.last(publisher).error().code(), v1::Error::TOO_LARGE);

  broker.open_publisher(other);
  broker.publish(other, 1, 250);
  broker.commit();
  broker.restart();
  broker.attach(worker, token(1), 1000);
  broker.commit();

  EXPECT_EQ(broker.delivered(worker), 250U);
}

TEST(Publishing, WhatIsSentAgainIsStoredOnce) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 5);
  broker.commit();
  broker.restart();
  broker.open_publisher(publisher, 7, 1);

  broker.publish(publisher, 1, 5);
  broker.publish(publisher, 6, 1);
  broker.commit();

  EXPECT_EQ(broker.confirmed(publisher), 6U);
  EXPECT_EQ(broker.queue().ready(), 6U);
}

TEST(Publishing, WhatIsSentAgainBeforeItsCommitIsAnsweredByIt) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 5);
  ASSERT_TRUE(broker.seal());
  broker.open_publisher(other, 7, 1);  // the same publisher, on a new connection
  broker.publish(other, 1, 5);
  EXPECT_EQ(broker.confirmed(other), 0U);

  broker.finish_commit();

  EXPECT_EQ(broker.confirmed(other), 5U);
  EXPECT_EQ(broker.queue().ready(), 5U);
}

TEST(Publishing, APublisherWhoseMarkIsGoneIsTold) {
  Broker broker;
  broker.open_publisher(publisher, 9, 17);
  EXPECT_FALSE(broker.last(publisher).welcome().publisher_known());
}

TEST(Publishing, SmallFramesOfOneCommitShareASegment) {
  Broker broker;
  broker.open_publisher(publisher);
  for (std::uint64_t n = 1; n <= 20; ++n) broker.publish(publisher, n, 1);
  ASSERT_TRUE(broker.seal());

  const auto segments = std::count_if(broker.sealed->writes.begin(), broker.sealed->writes.end(),
                                      [](const Write& write) { return std::holds_alternative<PutSegment>(write); });

  EXPECT_EQ(segments, 1);
  broker.finish_commit();
  EXPECT_EQ(broker.confirmed(publisher), 20U);
}

TEST(WindowHolds, NoMoreThanTheWindowIsOutstanding) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 200);
  broker.commit();
  broker.attach(worker, token(1), 64);
  broker.commit();
  EXPECT_EQ(broker.delivered(worker), 64U);

  const auto first = broker.deliveries(worker).front();
  broker.settle(worker, first.lease(), 10, v1::ACK);

  EXPECT_EQ(broker.delivered(worker), 74U);
  EXPECT_EQ(broker.queue().leased(), 64U);
}

TEST(WindowHolds, AMessageIsDeliveredOnlyToASessionThatIsNotedOnDisk) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 1);
  broker.commit();
  broker.attach(worker, token(1));
  EXPECT_EQ(broker.delivered(worker), 0U);
  broker.commit();
  EXPECT_EQ(broker.delivered(worker), 1U);
}

TEST(OneLiveLease, ASettlementUnderAnOldLeaseChangesNothing) {
  Broker broker;
  broker.give(1, worker, token(1));
  const auto slow = broker.deliveries(worker).front();
  broker.attach(other, token(2));
  broker.commit();
  for (int i = 0; i < 12; ++i) {
    broker.pass(1s);
    v1::Frame alive;
    alive.mutable_keep_alive()->set_process_token(std::string(token(2).view()));
    broker.say(other, alive);
  }
  broker.commit();
  ASSERT_EQ(broker.delivered(other), 1U);  // the first process fell silent

  broker.attach(4, token(1), 100, {broker.claim_of(slow, 1)});

  ASSERT_EQ(broker.inbox[4].front().welcome().claims_size(), 1);
  EXPECT_TRUE(broker.inbox[4].front().welcome().claims(0).stale());
  broker.settle(4, slow.lease(), 1, v1::ACK);
  broker.commit();  // `stale` may mean that it was applied before: it is said once that is on disk
  EXPECT_EQ(broker.stale(4), 1U);
  EXPECT_EQ(broker.queue().leased(), 1U);
}

TEST(AttemptsEnd, AMessageOutOfAttemptsIsADeadLetterWithItsHistory) {
  QueuePolicy policy = written_first();
  policy.attempts = 3;
  Broker broker({{"orders", policy}});
  broker.give(1, worker, token(1));
  const std::vector<std::string> errors{"no answer", "went wrong", "went wrong"};
  std::vector<std::uint64_t> leases;
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    const auto delivery = broker.deliveries(worker).back();
    ASSERT_EQ(delivery.attempt(), attempt);
    leases.push_back(delivery.lease());
    broker.settle(worker, delivery.lease(), 1, v1::RETRY, 1000, errors[attempt - 1]);
    broker.commit();
    broker.pass(2ms);
  }
  EXPECT_EQ(broker.queue().dead(), 1U);
  EXPECT_EQ(broker.queue().ready() + broker.queue().delayed() + broker.queue().leased(), 0U);
  v1::Record record;
  record.ParseFromString(
      std::string(*broker.store.snapshot()->dead({1, broker.deliveries(worker).back().segment(), 0})));
  ASSERT_EQ(record.history_size(), 3);
  for (int i = 0; i < 3; ++i) {
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(record.history(i).number(), at + 1);
    EXPECT_EQ(record.history(i).error(), errors[at]);
    EXPECT_EQ(record.history(i).duration_us(), leases[at]);  // the harness's
  }
}

TEST(Settling, ARetryComesBackAfterItsBackoffAndNotBefore) {
  Broker broker;
  broker.give(1, worker, token(1));
  broker.settle(worker, broker.deliveries(worker).front().lease(), 1, v1::RETRY);
  broker.commit();
  EXPECT_EQ(broker.queue().delayed(), 1U);

  broker.pass(999ms);
  EXPECT_EQ(broker.delivered(worker), 1U);
  broker.pass(250ms);
  EXPECT_EQ(broker.delivered(worker), 2U);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 2U);
}

TEST(Settling, AReleaseIsReadyAtOnceAndNotCounted) {
  Broker broker;
  broker.give(3, worker, token(1));
  const auto lease = broker.deliveries(worker).front().lease();
  broker.settle(worker, lease, 1, v1::ACK);

  broker.settle(worker, lease + 1, 1, v1::RELEASE);

  EXPECT_EQ(broker.delivered(worker), 4U);  // it alone
  EXPECT_EQ(broker.deliveries(worker).back().first(), 1U);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 1U);
}

TEST(Settling, ADeferIsNotCounted) {
  Broker broker;
  broker.give(1, worker, token(1));
  broker.settle(worker, broker.deliveries(worker).front().lease(), 1, v1::DEFER, 5'000'000);
  broker.commit();
  broker.pass(4900ms);
  EXPECT_EQ(broker.delivered(worker), 1U);
  broker.pass(200ms);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 1U);
  EXPECT_EQ(broker.delivered(worker), 2U);
}

TEST(Settling, TheConfirmationFollowsTheCommit) {
  Broker broker;
  broker.give(10, worker, token(1));
  broker.inbox[worker].clear();
  broker.settle(worker, 1, 10, v1::ACK);
  EXPECT_TRUE(broker.inbox[worker].empty());
  broker.commit();
  ASSERT_EQ(broker.last(worker).settled().frames_size(), 1);
  EXPECT_EQ(broker.last(worker).settled().frames(0).first(), 2U);  // HELLO was 1
  EXPECT_EQ(broker.queue().acked(), 10U);
  EXPECT_FALSE(broker.store.snapshot()->segment({1, default_lane, 1}).has_value());
}

TEST(Settling, OutputsLeaveWithTheirAckAndNotWithAStaleOne) {
  Broker broker({{"orders", written_first()}, {"emails", written_first()}});
  broker.give(2, worker, token(1));
  const auto lease = broker.deliveries(worker).front().lease();
  broker.settle(worker, lease, 1, v1::RELEASE);  // its lease is gone
  v1::Frame frame;
  auto* run = frame.mutable_settle()->add_runs();
  run->set_lease(lease);
  run->set_count(2);
  run->set_outcome(v1::ACK);
  auto* group = frame.mutable_settle()->add_outputs();
  group->set_queue(2);
  group->mutable_index()->add_lengths(1);
  group->mutable_index()->add_lengths(1);
  group->mutable_index()->add_types("T");
  group->add_source(lease);
  group->add_source(lease + 1);
  broker.say(worker, frame, "ab");
  broker.commit();

  EXPECT_EQ(broker.stale(worker), 1U);
  EXPECT_EQ(broker.queue(1).ready(), 1U);
  EXPECT_EQ(broker.queue(0).acked(), 1U);
}

TEST(Settling, MoreRetriesThanMemoryKeepsComeBackInTime) {
  constexpr int groups = 80;  // 20,480 messages; 16,384 of them wait in memory
  Broker broker;
  broker.give_segments(groups, worker, token(1));
  ASSERT_EQ(broker.delivered(worker), groups * 256U);
  broker.settle(worker, 1, groups * 256, v1::RETRY, 1'000'000);
  broker.finish();

  broker.pass(999ms);
  EXPECT_EQ(broker.delivered(worker), groups * 256U);
  broker.pass(2ms);
  broker.finish();
  broker.pass(20ms);  // those that only the store knows: its walk rests now and then
  broker.finish();
  EXPECT_EQ(broker.delivered(worker), 2 * groups * 256U);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 2U);
}

TEST(FullQueue, PublishersWaitAndTheQueueNeverExceedsItsMost) {
  QueuePolicy policy = written_first();
  policy.most.messages = Messages{100};
  Broker broker({{"orders", policy}});
  broker.open_publisher(publisher);
  std::uint64_t number = 1;
  std::uint64_t window = 0;
  for (const auto& info : broker.last(publisher).welcome().queues()) window = info.window().messages();
  EXPECT_EQ(window, 100U);
  broker.publish(publisher, number, 60);
  broker.commit();
  // The window shrank by what was confirmed, in a frame before the confirmation.
  const auto& frames = broker.inbox[publisher];
  ASSERT_GE(frames.size(), 2U);
  EXPECT_EQ(frames[frames.size() - 2].window().messages(), 40U);
  EXPECT_TRUE(frames.back().has_confirmed());
  broker.epoch = frames[frames.size() - 2].window().epoch();
  number += 60;
  broker.publish(publisher, number, 41);
  EXPECT_EQ(broker.last(publisher).error().code(), v1::Error::WINDOW_BROKEN);

  broker.attach(worker, token(1));
  broker.commit();
  broker.open_publisher(other);
  broker.settle(worker, 1, 60, v1::ACK);
  broker.commit();
  EXPECT_EQ(broker.last(other).window().messages(), 100U);
}

// Found on a small disk under ThreadSanitizer: a commit of 8 MiB that was under way when the disk was full did not fit
// a reserve of 4 MiB, and settling waited behind it for ever.
TEST(FullDisk, WhatAllPublishersHaveUnansweredFitsTheReserve) {
  Broker broker;
  broker.config.unanswered_most = Bytes{1000};
  broker.start();
  broker.open_publisher(publisher);
  EXPECT_EQ(broker.last(publisher).welcome().queues(0).window().bytes(), 1000U);

  broker.open_publisher(other, 8);
  EXPECT_EQ(broker.last(other).welcome().queues(0).window().bytes(), 500U);
  broker.pass(1s);

  EXPECT_EQ(broker.last(publisher).window().bytes(), 500U);
}

TEST(FullQueue, OnFullRefuseAnswersRefusedWithTheReason) {
  QueuePolicy policy = written_first();
  policy.most.messages = Messages{10};
  policy.most.on_full = OnFull::refuse;
  Broker broker({{"orders", policy}});
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 8);
  broker.publish(publisher, 9, 3);
  broker.commit();
  const auto& runs = broker.last(publisher).confirmed().runs();
  ASSERT_EQ(runs.size(), 2);
  EXPECT_EQ(runs[1].answer(), v1::Confirmed::REFUSED);
  EXPECT_EQ(runs[1].reason(), "queue 'orders' has no room for 3 more: it holds 8 of at most 10 messages");
  // Refused it stays, over a restart too.
  broker.restart();
  broker.open_publisher(publisher, 7, 1);
  broker.publish(publisher, 9, 3);
  EXPECT_EQ(broker.last(publisher).confirmed().runs(0).answer(), v1::Confirmed::REFUSED);
}

TEST(FullStore, PublishingStopsAndSettlingGoesOn) {
  Broker broker;
  broker.give(2, worker, token(1));
  Actions actions;
  broker.core->room(broker.now, false, actions);
  broker.carry_out(actions);
  EXPECT_EQ(broker.last(publisher).window().messages(), 0U);
  broker.settle(worker, 1, 1, v1::ACK);
  broker.settle(worker, 2, 1, v1::REJECT);
  broker.commit();
  EXPECT_EQ(broker.queue().acked(), 1U);
  EXPECT_EQ(broker.queue().dead(), 1U);
  broker.core->room(broker.now, true, actions);
  broker.carry_out(actions);
  EXPECT_GT(broker.last(publisher).window().messages(), 0U);
}

TEST(Types, AWorkerIsSentOnlyTypesThatItNamed) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 2, 0, "a.A");
  broker.commit();
  broker.publish(publisher, 3, 3, 0, "b.B");
  broker.publish(publisher, 6, 1, 0, "a.A");  // one segment of two types
  broker.commit();
  broker.attach(worker, token(1), 100, {}, {}, "orders", "b.B");
  broker.commit();
  EXPECT_EQ(broker.delivered(worker), 3U);
  EXPECT_EQ(broker.queue().unknown(), 3U);  // the last one stands between those that it knows
}

TEST(Types, AWorkerIsWellWhileOnlyTypesThatItDoesNotKnowWaitBesideThoseThatItHad) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 1, 0, "a.A");
  broker.publish(publisher, 2, 1, 0, "b.B");  // one segment of two types
  broker.commit();
  broker.attach(worker, token(1), 100, {}, {}, "orders", "b.B");
  broker.commit();
  broker.settle(worker, broker.deliveries(worker).front().lease(), 1, v1::ACK);
  broker.commit();
  broker.pass(1s);
  broker.keep_alive(worker, token(1));
  broker.pass(1500ms);
  const auto shown = [&] {
    v1::Workers workers;
    broker.core->list_workers(broker.now, workers);
    return workers.workers(0).consuming();
  };
  EXPECT_TRUE(shown());
  EXPECT_EQ(broker.queue().ready(), 1U);
  EXPECT_EQ(broker.queue().unknown(), 1U);
}

}  // namespace
}  // namespace weir::broker::core::testing
