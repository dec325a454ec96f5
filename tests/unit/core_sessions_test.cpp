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
            "no protocol version in common: you speak 5 to 6, this broker 1 to 1");
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

}  // namespace
}  // namespace weir::broker::core::testing
