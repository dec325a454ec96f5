// What the simulator (tests/simulation) found in the core, each as a short script.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

// Seed 3 of the first simulator.
TEST(Throttled, AShorterPauseDoesNotEndALongerOne) {
  Broker broker;
  broker.attach(1, token(1), 2);
  broker.open_publisher(2);
  broker.publish(2, 1, 3);
  broker.commit();
  const std::uint64_t lease = broker.deliveries(1).front().lease();
  broker.settle(1, lease, 1, v1::THROTTLED, 60'000'000);
  broker.settle(1, lease + 1, 1, v1::THROTTLED, 10'000);
  broker.commit();

  broker.pass(1s);

  EXPECT_EQ(broker.delivered(1), 2U);
}

// Seed 89. A worker released a message, was sent it again and acked it; the broker died before it had said that it
// heard of either.
TEST(Recovery, OfTwoSettlementsOfOneMessageTheLaterOneHolds) {
  for (const bool older_first : {true, false}) {
    Broker broker;
    broker.attach(1, token(1));
    broker.open_publisher(2);
    broker.publish(2, 1, 1);
    broker.commit();
    broker.settle(1, broker.deliveries(1).back().lease(), 1, v1::RELEASE);
    ASSERT_EQ(broker.delivered(1), 2U);
    broker.settle(1, broker.deliveries(1).back().lease(), 1, v1::ACK);
    std::vector<v1::Claim> claims;
    for (const auto& delivery : broker.deliveries(1)) {
      claims.push_back(broker.claim_of(delivery, 1));
    }
    if (!older_first) std::swap(claims[0], claims[1]);
    broker.restart();

    broker.attach(3, token(1), 100, {}, claims);
    const auto answers = broker.inbox[3].front().welcome().claims();
    ASSERT_EQ(answers.size(), 2);
    for (int i : {0, 1}) {
      if (answers[i].stale()) continue;
      broker.settle(3, answers[i].lease(), 1, (i == 0) == older_first ? v1::RELEASE : v1::ACK);
    }
    broker.commit();

    EXPECT_EQ(broker.delivered(3), 0U);
    EXPECT_EQ(broker.queue().acked(), 1U);
  }
}

// Seed 16. What a session may hold that did not come back in time goes to others once its end is on disk: if the broker
// died before, the session could still claim it.
TEST(Recovery, ASessionThatIsGivenUpHasEndedOnDiskBeforeItsMessagesGoOn) {
  Broker broker;
  broker.attach(1, token(1));
  broker.open_publisher(2);
  broker.publish(2, 1, 1);
  broker.commit();
  ASSERT_EQ(broker.delivered(1), 1U);
  broker.restart();
  broker.attach(3, token(2));
  broker.commit();
  for (int i = 0; i < 120; ++i) {
    broker.pass(100ms);
    v1::Frame alive;
    alive.mutable_beat();
    broker.say(3, alive);
  }
  EXPECT_EQ(broker.delivered(3), 0U);

  broker.commit();

  EXPECT_EQ(broker.delivered(3), 1U);
}

// Seed 36. Four messages of room and three publishers: two were idle and kept it all.
TEST(FullQueue, RoomThatNobodyUsesGoesToWhoHasNone) {
  for (const std::uint64_t most : {4U, 2U, 1U}) {
    QueuePolicy policy = written_first();
    policy.most.messages = Messages{most};
    Broker broker({{"orders", policy}});
    for (const unsigned char id : {2, 3, 4}) broker.open_publisher(id, id);
    std::map<Connection, std::uint64_t> had;
    for (int i = 0; i < 40; ++i) {
      for (const Connection publisher : {2U, 3U, 4U}) {
        for (const auto& frame : std::exchange(broker.inbox[publisher], {})) {
          v1::Window window = frame.window();
          for (const auto& info : frame.welcome().queues()) window = info.window();
          if (window.epoch() == 0) continue;
          had[publisher] = std::max(had[publisher], window.messages());
          v1::Frame seen;
          seen.mutable_window()->set_queue(1);
          seen.mutable_window()->set_epoch(window.epoch());
          broker.say(publisher, seen);
        }
      }
      broker.pass(250ms);
    }

    for (const Connection publisher : {2U, 3U, 4U}) EXPECT_GE(had[publisher], 1U) << most << ", " << publisher;
  }
}

// Seed 769. The broker was held up, and read the HELLO of a worker's older connection after that of its newest: it gave
// back what the worker had been sent since.
TEST(Sessions, AnOlderHelloThatIsReadLateReplacesNobody) {
  Broker broker;
  broker.open_publisher(2);
  broker.publish(2, 1, 1);
  broker.commit();
  const auto hello = [&](Connection from, std::uint64_t epoch) {
    broker.say(from, Broker::worker_hello(token(1), 10, epoch));
  };
  hello(4, 3);
  broker.commit();
  ASSERT_EQ(broker.delivered(4), 1U);

  hello(3, 2);
  broker.commit();

  EXPECT_EQ(broker.last(3).error().code(), v1::Error::REPLACED);
  EXPECT_EQ(broker.delivered(3), 0U);
  broker.settle(4, broker.deliveries(4).front().lease(), 1, v1::ACK);
  broker.commit();
  EXPECT_EQ(broker.queue().acked(), 1U);
}

// Seed 2801. What was due and held before a restart is not due after it, if the wall clock was put back in between.
TEST(Recovery, ARecordThatIsHeldWaitsForItsSessionThoughTheClockWasPutBack) {
  Broker broker;
  broker.attach(1, token(1));
  broker.open_publisher(2);
  broker.publish(2, 1, 1);
  broker.commit();
  broker.settle(1, broker.deliveries(1).back().lease(), 1, v1::DEFER, 100'000);
  broker.commit();
  broker.pass(100ms);
  ASSERT_EQ(broker.delivered(1), 2U);
  broker.now.wall -= 20ms;
  broker.restart();
  broker.attach(3, token(2));
  broker.commit();

  for (int i = 0; i < 10; ++i) broker.pass(10ms);

  EXPECT_EQ(broker.delivered(3), 0U);
}

// Seed 2224. A publisher sends again what its old window let in, also if the wall clock was put back before a restart.
TEST(Publishing, EpochsGrowOverARestartWhateverTheWallClockDoes) {
  Broker broker;
  broker.open_publisher(2);
  const std::uint64_t before = broker.epoch;
  broker.commit();
  broker.now.wall -= 1h;
  broker.restart();

  broker.open_publisher(3);

  EXPECT_GT(broker.epoch, before);
}

// Seed 1410292937038852. A keep-alive's new connection vouches with its HELLO, should all that follows be lost.
TEST(Sessions, TheHelloOfAKeepAliveVouchesForItsProcess) {
  Broker broker;
  broker.attach(1, token(1));
  broker.commit();
  for (int i = 0; i < 9; ++i) broker.pass(1s);

  broker.open_keeper(2, token(1));
  for (int i = 0; i < 9; ++i) broker.pass(1s);

  EXPECT_FALSE(broker.last(1).has_error());
}

// Seed 2580809760070525. What is read of a connection that has just been ended is nobody's: its HELLO made a session on
// a dead connection, to which all that the worker held was sent again.
TEST(Sessions, AHelloOnAConnectionThatWasEndedIsNotRead) {
  Broker broker;
  broker.attach(1, token(1));
  broker.open_publisher(2);
  broker.publish(2, 1, 1);
  broker.commit();
  ASSERT_EQ(broker.delivered(1), 1U);
  v1::Frame again = Broker::worker_hello(token(1), 10, 1);
  again.set_number(1);

  Actions turn;
  broker.core->frame(broker.now, 1, again, {}, turn);
  broker.core->frame(broker.now, 1, again, {}, turn);
  broker.carry_out(turn);
  broker.commit();

  EXPECT_EQ(broker.last(1).error().code(), v1::Error::OUT_OF_SEQUENCE);
  EXPECT_EQ(broker.delivered(1), 1U);
}

// Seed 30417. The room of a publisher that is gone goes to the one who is left, though nothing else happens.
TEST(Publishing, TheRoomOfALostPublisherGoesToTheOneWhoIsLeft) {
  QueuePolicy policy = written_first();
  policy.most.messages = Messages{2};
  Broker broker({{"orders", policy}});
  broker.open_publisher(1, 7);
  broker.open_publisher(2, 8);
  ASSERT_EQ(broker.last(2).welcome().queues(0).window().messages(), 0U);

  Actions actions;
  broker.core->disconnected(broker.now, 1, actions);
  broker.carry_out(actions);

  EXPECT_EQ(broker.last(2).window().messages(), 2U);
}

// Seed 138483. The note of a session that has ended is not that of the next one of the same worker.
TEST(Sessions, ASessionIsNotTakenForNotedByTheNoteOfTheOneBefore) {
  Broker broker;
  broker.open_publisher(2);
  broker.publish(2, 1, 1);
  broker.commit();
  broker.publish(2, 2, 1);
  ASSERT_TRUE(broker.seal());  // a slow disk: what follows is gathered in one commit
  broker.attach(1, token(1));
  for (int i = 0; i < 12; ++i) broker.pass(1s);  // nobody vouches for it
  ASSERT_TRUE(broker.last(1).has_error());
  broker.finish_commit();
  ASSERT_TRUE(broker.seal());  // the first session's note and its end
  broker.attach(3, token(1));

  broker.finish_commit();

  EXPECT_EQ(broker.delivered(3), 0U);
  broker.commit();
  EXPECT_EQ(broker.delivered(3), 2U);
}

// Seed 268624325931214. The machine slept for longer than a mark is kept, and woke up with two HELLOs of the same
// publisher: the first one's connection was gone, and so was what it was told.
TEST(Publishing, APublisherWhoseMarkIsGoneIsToldUntilItPublishes) {
  Broker broker;
  broker.open_publisher(1, 9, 17);
  broker.open_publisher(2, 9, 17);
  EXPECT_FALSE(broker.last(2).welcome().publisher_known());

  broker.publish(2, 25, 1);
  broker.commit();
  broker.open_publisher(3, 9, 26);

  EXPECT_TRUE(broker.last(3).welcome().publisher_known());
}

// restart_test.py --cuts 1000. What a worker has settled is out of its window as soon as it says so in its HELLO:
// others come while the settlements themselves are still on their way. `leased` counts both.
TEST(WindowHolds, WhatIsNamedAsSettledIsLeasedUntilItsSettlementComes) {
  Broker broker;
  broker.open_publisher(2);
  broker.publish(2, 1, 200);
  broker.commit();
  broker.attach(1, token(1), 64);
  broker.commit();
  ASSERT_EQ(broker.delivered(1), 64U);
  std::vector<v1::Claim> settled;
  for (const auto& delivery : broker.deliveries(1)) settled.push_back(broker.claim_of(delivery, 1));

  broker.attach(3, token(1), 64, {}, settled);

  v1::Workers workers;
  broker.core->list_workers(broker.now, workers);
  EXPECT_EQ(workers.workers(0).held_messages(), 64U);
  EXPECT_EQ(broker.delivered(3), 64U);
  EXPECT_EQ(broker.queue().leased(), 128U);
  for (const auto& frame : broker.inbox[3]) {
    for (const auto& claim : frame.welcome().claims()) broker.settle(3, claim.lease(), claim.count(), v1::ACK);
  }
  EXPECT_EQ(broker.delivered(3), 64U);
  EXPECT_EQ(broker.queue().leased(), 64U);
}

}  // namespace
}  // namespace weir::broker::core::testing
