// The broker's core: what a restart finds, and what sessions claim after it.
#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;
constexpr Connection other = 3;

TEST(Recovery, ANotedSessionClaimsWhatItHeldAndNothingRunsTwice) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 10);
  broker.commit();
  broker.attach(worker, token(1), 4);
  broker.commit();
  const auto held = broker.deliveries(worker).front();
  ASSERT_EQ(broker.delivered(worker), 4U);
  broker.restart();
  broker.attach(other, token(2));  // another worker: gets nothing while the first may come back
  broker.commit();
  EXPECT_EQ(broker.delivered(other), 0U);

  broker.attach(worker, token(1), 4, {broker.claim_of(held, 1)});

  const auto& claims = broker.inbox[worker].front().welcome();
  ASSERT_EQ(claims.claims_size(), 1);
  EXPECT_FALSE(claims.claims(0).stale());
  EXPECT_EQ(claims.claims(0).count(), 4U);
  EXPECT_EQ(broker.delivered(other), 6U);
  EXPECT_EQ(broker.delivered(worker), 0U);
  broker.settle(worker, claims.claims(0).lease(), 4, v1::ACK);
  broker.commit();
  EXPECT_EQ(broker.queue().acked(), 4U);
  EXPECT_EQ(broker.stale(worker), 0U);
}

TEST(Recovery, ASessionThatIsNotBackInTimeIsGivenUp) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 10);
  broker.commit();
  broker.attach(worker, token(1), 4);
  broker.commit();
  const auto held = broker.deliveries(worker).front();
  broker.restart();
  broker.attach(other, token(2));
  broker.commit();
  for (int i = 0; i < 12; ++i) {
    broker.pass(1s);
    v1::Frame alive;
    alive.mutable_keep_alive()->set_process_token(std::string(token(2).view()));
    broker.say(other, alive);
    broker.commit();
  }
  EXPECT_EQ(broker.delivered(other), 10U);
  broker.attach(worker, token(1), 4, {broker.claim_of(held, 1)});
  EXPECT_TRUE(broker.inbox[worker].front().welcome().claims(0).stale());
}

TEST(Recovery, AStrangerClaimsNothing) {
  Broker broker;
  broker.give(1, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  broker.restart();
  broker.attach(other, token(9), 100, {broker.claim_of(held, 1)});
  EXPECT_TRUE(broker.inbox[other].front().welcome().claims(0).stale());
}

TEST(Recovery, AResentAckIsTakenAtOnceAndAResentRetryOnceAllAreBack) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 2);
  broker.commit();
  broker.attach(worker, token(1), 2);
  broker.commit();  // it has both
  broker.attach(other, token(2), 2);
  broker.commit();
  const auto all = broker.deliveries(worker);
  ASSERT_EQ(all.front().index().lengths_size(), 2);
  auto one = broker.claim_of(all.front(), 1);
  one.set_count(1);
  auto two = one;
  two.set_first(one.first() + 1);
  two.set_lease(one.lease() + 1);
  broker.restart();

  broker.attach(worker, token(1), 2, {}, {one, two});
  const auto& welcome = broker.inbox[worker].front().welcome();
  broker.settle(worker, welcome.claims(0).lease(), 1, v1::ACK);
  broker.settle(worker, welcome.claims(1).lease(), 1, v1::RETRY, 1000);
  broker.commit();

  EXPECT_EQ(broker.queue().acked(), 1U);
  EXPECT_EQ(broker.queue().retried(), 0U);  // it waits for the other session
  broker.attach(other, token(2), 2);
  broker.commit();
  EXPECT_EQ(broker.queue().retried(), 1U);
}

TEST(Recovery, AResentRetryGoesToWhoKnowsItsType) {
  Broker broker;
  broker.open_publisher(publisher);
  v1::Frame frame = broker.publish_frame(1, 2, 0, "A");
  auto* index = frame.mutable_publish()->mutable_groups(0)->mutable_index();
  index->add_types("B");
  index->add_type_of(0);
  index->add_type_of(1);
  broker.say(publisher, std::move(frame), std::string(20, 'x'));
  broker.commit();
  broker.attach(worker, token(1), 2, {}, {}, "orders", "B");
  broker.commit();
  const auto held = broker.deliveries(worker).front();
  ASSERT_EQ(held.first(), 1U);
  broker.attach(other, token(2), 2, {}, {}, "orders", "C");
  broker.commit();
  broker.restart();

  broker.attach(worker, token(1), 2, {}, {broker.claim_of(held, 1)}, "orders", "B");
  broker.settle(worker, broker.inbox[worker].front().welcome().claims(0).lease(), 1, v1::RETRY, 1000);
  broker.attach(other, token(2), 2, {}, {}, "orders", "C");  // the last that is waited for
  broker.commit();
  broker.pass(2ms);

  ASSERT_EQ(broker.delivered(worker), 1U);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 2U);
}

TEST(Recovery, ARetryThatWasHeardBeforeTheRestartCountsOnce) {
  Broker broker;
  broker.give(1, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  broker.settle(worker, held.lease(), 1, v1::RETRY, 1000);
  ASSERT_TRUE(broker.seal());
  broker.store.commit(*broker.sealed);  // on disk, and nobody heard
  broker.restart();
  broker.attach(worker, token(1), 100, {}, {broker.claim_of(held, 1)});
  EXPECT_TRUE(broker.inbox[worker].front().welcome().claims(0).stale());
  broker.commit();
  broker.pass(5ms);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 2U);
}

TEST(Recovery, NoPlaceIsGivenTwice) {
  Broker broker({{"orders", QueuePolicy{}}});  // delivers ahead
  broker.give(1, worker, token(1));
  const auto acked = broker.deliveries(worker).front();
  broker.settle(worker, acked.lease(), 1, v1::ACK);
  broker.commit();
  broker.publish(publisher, 2, 1);
  broker.publish(publisher, 3, 1);
  const auto lost = broker.deliveries(worker);  // in the worker's hands, and in no commit
  ASSERT_EQ(lost.size(), 3U);
  broker.restart();

  // Others' messages come before the worker is back, which has handled what it held.
  broker.open_publisher(other, 8);
  broker.publish(other, 1, 2);
  broker.commit();
  const auto segment = broker.last(other).confirmed().runs(0).segment();
  EXPECT_GT(segment, acked.segment());
  EXPECT_GT(segment, lost.back().segment());
  broker.attach(worker, token(1), 100, {}, {broker.claim_of(lost[1], 1), broker.claim_of(lost[2], 1)});
  const auto& claims = broker.inbox[worker].front().welcome().claims();
  ASSERT_GE(claims.size(), 1);
  for (const auto& claim : claims) EXPECT_TRUE(claim.stale());  // or its ack would settle what nobody handled
  broker.commit();
  EXPECT_EQ(broker.delivered(worker), 2U);
}

}  // namespace
}  // namespace weir::broker::core::testing
