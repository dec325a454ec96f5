// The broker's core: sessions, their frames, connections and ends.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;
constexpr Connection other = 3;

TEST(Sessions, ACutConnectionKeepsItsLeasesAndWhatWasLostOnTheWayReturns) {
  Broker broker;
  broker.give(10, worker, token(1));
  auto seen = broker.claim_of(broker.deliveries(worker).front(), 1);
  seen.set_count(4);  // the rest never arrived

  broker.attach(other, token(1), 4, {seen});

  ASSERT_EQ(broker.inbox[other].front().welcome().claims_size(), 1);
  EXPECT_FALSE(broker.inbox[other].front().welcome().claims(0).stale());
  EXPECT_EQ(broker.inbox[other].front().welcome().claims(0).count(), 4U);
  EXPECT_EQ(broker.queue().leased(), 4U);
  EXPECT_EQ(broker.queue().ready(), 6U);
  EXPECT_EQ(broker.delivered(other), 0U);  // the window is full with what it holds
  broker.settle(other, seen.lease(), 4, v1::ACK);
  EXPECT_EQ(broker.delivered(other), 4U);
  EXPECT_THAT(broker.closed_connections, ::testing::Contains(worker));
}

TEST(Sessions, AWorkerAttachesInFurtherPartsOfItsHelloToo) {
  Broker broker({{"orders", written_first()}, {"emails", written_first()}});
  v1::Frame first = Broker::worker_hello(token(1), 10, 1, "emails");
  first.mutable_hello()->set_more(true);
  v1::Frame second = Broker::worker_hello(token(1), 10, 1, "orders");
  second.mutable_hello()->add_attach()->set_queue("emails");  // it stays as the first part has it

  broker.say(worker, first);
  broker.say(worker, second);
  broker.commit();
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 3);
  broker.commit();

  EXPECT_TRUE(broker.inbox[worker].front().has_welcome()) << broker.inbox[worker].front().ShortDebugString();
  EXPECT_EQ(broker.delivered(worker), 3U);
}

TEST(Sessions, AGapInFrameNumbersEndsTheSession) {
  Broker broker;
  broker.open_publisher(publisher);
  ++broker.frames_out[publisher];
  broker.publish(publisher, 1, 1);
  EXPECT_EQ(broker.last(publisher).error().code(), v1::Error::OUT_OF_SEQUENCE);
  EXPECT_TRUE(broker.last(publisher).error().fatal());
  EXPECT_EQ(broker.last(publisher).error().message(), "frame 3 came after frame 1; frames count from 1 without a gap");
}

TEST(Sessions, AFrameBeforeHelloIsAnsweredAsToAStranger) {
  Broker broker;
  broker.publish(publisher, 1, 1);
  EXPECT_EQ(broker.last(publisher).number(), 0U);
  EXPECT_EQ(broker.last(publisher).error().code(), v1::Error::OUT_OF_SEQUENCE);
}

TEST(Sessions, NoVersionInCommonNamesBothRanges) {
  Broker broker;
  v1::Frame frame;
  frame.mutable_hello()->set_magic(protocol::magic);
  frame.mutable_hello()->set_version_lowest(5);
  frame.mutable_hello()->set_version_highest(6);
  broker.say(worker, frame);
  EXPECT_EQ(broker.last(worker).error().message(),
            "no protocol version in common: you speak 5 to 6, this broker 2 to 2");
}

TEST(Sessions, AnUnknownKindOfFrameIsAnsweredAndTheSessionLives) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.say(publisher, {});
  EXPECT_EQ(broker.last(publisher).error().code(), v1::Error::UNKNOWN_FRAME);
  EXPECT_FALSE(broker.last(publisher).error().fatal());
  broker.publish(publisher, 1, 1);
  broker.commit();
  EXPECT_EQ(broker.confirmed(publisher), 1U);
}

TEST(Sessions, NobodyVouchesForOrBuriesAnothersProcess) {
  Broker broker;
  broker.give(1, worker, token(1));
  v1::Frame death;
  death.mutable_death()->set_process_token(std::string(token(2).view()));
  broker.say(worker, death);
  EXPECT_EQ(broker.last(worker).error().code(), v1::Error::UNKNOWN_TOKEN);
  EXPECT_EQ(broker.queue().leased(), 1U);

  death.mutable_death()->set_process_token(std::string(token(1).view()));
  broker.open_publisher(other);
  broker.say(other, death);
  broker.commit();
  EXPECT_EQ(broker.queue().leased(), 0U);
  EXPECT_EQ(broker.queue().ready(), 1U);
  EXPECT_TRUE(broker.last(other).has_control_reply());
}

TEST(Sessions, AGapOfTheBrokersOwnEndsNobody) {
  Broker broker;
  broker.give(1, worker, token(1));
  broker.pass(60s);
  broker.commit();
  EXPECT_EQ(broker.queue().leased(), 1U);
}

TEST(Sessions, AJumpOfTheWallClockEndsNobody) {
  Broker broker;
  broker.give(1, worker, token(1));
  broker.now.wall += 24h;
  broker.pass(1s);
  broker.now.wall -= 48h;
  broker.pass(1s);
  broker.commit();
  EXPECT_EQ(broker.queue().leased(), 1U);
}

TEST(Delays, AMessagePublishedWithADelayIsARecordFromTheStart) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 3, 2'000'000);
  broker.commit();
  EXPECT_EQ(broker.queue().delayed(), 3U);
  broker.restart();
  broker.attach(worker, token(1));
  broker.commit();
  broker.pass(1900ms);
  EXPECT_EQ(broker.delivered(worker), 0U);
  EXPECT_LE((broker.core->next_tick() - broker.now.instant).count(), 100'000);
  broker.pass(101ms);
  EXPECT_EQ(broker.delivered(worker), 3U);
}

TEST(Delays, AJumpOfTheWallClockMakesADelayNeitherLongerNorShorter) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  broker.now.wall += 24h;
  broker.publish(publisher, 1, 1, 2'000'000);
  broker.commit();
  broker.now.wall -= 48h;
  broker.pass(1900ms);
  EXPECT_EQ(broker.delivered(worker), 0U);
  broker.pass(101ms);
  EXPECT_EQ(broker.delivered(worker), 1U);

  broker.settle(worker, broker.deliveries(worker).front().lease(), 1, v1::RETRY);
  broker.commit();
  broker.now.wall += 72h;
  broker.pass(999ms);
  EXPECT_EQ(broker.delivered(worker), 1U);
  broker.pass(250ms);
  EXPECT_EQ(broker.delivered(worker), 2U);
}

/// A message that is to come at this wall time.
void publish_at(Broker& broker, std::uint64_t number, WallTime at, std::uint64_t delay_us = 0) {
  v1::Frame frame = broker.publish_frame(number, 1, delay_us);
  frame.mutable_publish()->mutable_groups(0)->mutable_index()->add_deliver_at_us(at.time_since_epoch().count());
  broker.say(publisher, std::move(frame), std::string(10, 'x'));
  broker.commit();
}

std::ptrdiff_t steps_told(const Broker& broker) {
  return std::ranges::count(broker.notes, "wall_clock_stepped", &Note::event);
}

TEST(DeliverAt, AMessageComesAtItsWallTimeAndNotBefore) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  publish_at(broker, 1, broker.now.wall + 2s);
  EXPECT_EQ(broker.queue().delayed(), 1U);
  EXPECT_EQ(broker.record({1, 1, 0}).due_us(), (broker.now.wall + 2s).time_since_epoch().count());

  broker.pass(1999ms);
  EXPECT_EQ(broker.delivered(worker), 0U);
  EXPECT_LE((broker.core->next_tick() - broker.now.instant).count(), 1000);
  broker.pass(1ms);
  EXPECT_EQ(broker.delivered(worker), 1U);
}

TEST(DeliverAt, OneThatIsOverComesAtOnceAndOfADelayAndATimeTheLaterHolds) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  publish_at(broker, 1, broker.now.wall - 1h);
  publish_at(broker, 2, broker.now.wall);
  EXPECT_EQ(broker.delivered(worker), 2U);

  publish_at(broker, 3, broker.now.wall + 2s, 3'000'000);
  publish_at(broker, 4, broker.now.wall + 5s, 4'000'000);

  broker.pass(2999ms);
  EXPECT_EQ(broker.delivered(worker), 2U);
  broker.pass(1ms);
  EXPECT_EQ(broker.delivered(worker), 3U);
  broker.pass(1999ms);
  EXPECT_EQ(broker.delivered(worker), 3U);
  broker.pass(1ms);
  EXPECT_EQ(broker.delivered(worker), 4U);
}

TEST(DeliverAt, FollowsAWallClockThatIsPutForwardWhileTheBrokerRuns) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  publish_at(broker, 1, broker.now.wall + 1h);
  publish_at(broker, 2, broker.now.wall + 2h);
  broker.now.wall += 59min + 59s;
  broker.pass(900ms);
  EXPECT_EQ(broker.delivered(worker), 0U);
  broker.pass(100ms);
  EXPECT_EQ(broker.delivered(worker), 1U);
  EXPECT_EQ(steps_told(broker), 0);
  broker.now.wall += 61min;
  broker.pass(1s);
  EXPECT_EQ(broker.delivered(worker), 2U);
  EXPECT_EQ(steps_told(broker), 1);
}

TEST(DeliverAt, FollowsAWallClockThatIsPutBackAndDelaysDoNot) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  publish_at(broker, 1, broker.now.wall + 2s);
  broker.publish(publisher, 2, 1, 2'000'000);
  broker.commit();
  broker.now.wall -= 30min;
  broker.pass(2s);
  ASSERT_EQ(broker.delivered(worker), 1U);  // the delay
  EXPECT_EQ(broker.deliveries(worker).front().segment(), 2U);
  broker.pass_alive(token(1), 1799);
  EXPECT_EQ(broker.delivered(worker), 1U);
  broker.pass(1s);
  EXPECT_EQ(broker.delivered(worker), 2U);
  EXPECT_EQ(steps_told(broker), 0);
}

TEST(DeliverAt, WhatIsRetriedComesAgainByTheBrokersClock) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  publish_at(broker, 1, broker.now.wall + 2s);
  broker.pass(2s);
  broker.settle(worker, broker.deliveries(worker).front().lease(), 1, v1::RETRY);
  broker.commit();
  EXPECT_FALSE(broker.record({1, 1, 0}).by_wall());
  broker.now.wall -= 48h;
  broker.pass(1250ms);
  EXPECT_EQ(broker.delivered(worker), 2U);
}

TEST(DeliverAt, AWalkThatRestedLooksAgainOnceTheClockIsPutBack) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  broker.now.wall += 2h;
  for (std::uint64_t i = 1; i <= 40; ++i) publish_at(broker, i, broker.now.wall + 60ms + Duration(i));
  broker.pass(30ms);
  broker.now.wall -= 2h;
  publish_at(broker, 41, broker.now.wall + 10ms);
  broker.pass(10ms);
  EXPECT_EQ(broker.delivered(worker), 1U);
}

TEST(DeliverAt, ARestartFindsItByTheWallClock) {
  Broker broker;
  broker.attach(worker, token(1));
  broker.open_publisher(publisher);
  publish_at(broker, 1, broker.now.wall + 1h);
  broker.now.wall += 59min;  // the broker is away so long
  broker.restart();
  broker.attach(worker, token(1));
  broker.commit();

  broker.pass_alive(token(1), 59);
  EXPECT_EQ(broker.delivered(worker), 0U);
  broker.pass(1s);
  EXPECT_EQ(broker.delivered(worker), 1U);
}

}  // namespace
}  // namespace weir::broker::core::testing
