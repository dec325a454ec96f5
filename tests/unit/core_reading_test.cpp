// What is on its way to workers that do not read it is bounded, whatever their windows are.
#include <gtest/gtest.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr std::size_t message_bytes = 30'000;

struct Reading : ::testing::Test {
  Broker broker;
  std::uint64_t published = 0;

  Reading() {
    broker.config.unread_most = Bytes{512ULL * 1024};
    broker.start();
    broker.open_publisher(1);
    for (int i = 0; i < 40; ++i) {
      v1::Frame frame = broker.publish_frame(++published, 1);
      frame.mutable_publish()->mutable_groups(0)->mutable_index()->set_lengths(0, message_bytes);
      broker.say(1, std::move(frame), std::string(message_bytes, 'x'));
    }
    broker.commit();
  }
  void attach(Connection from, unsigned char process) {
    v1::Frame frame = Broker::worker_hello(token(process), 1'000'000, 1);
    frame.mutable_hello()->mutable_window()->set_bytes(1ULL << 40U);
    broker.say(from, std::move(frame));
    broker.commit();
  }
  std::size_t sent(Connection to) {
    std::size_t messages = 0;
    for (const auto& one : broker.deliveries(to)) messages += static_cast<std::size_t>(one.index().lengths_size());
    return messages;
  }
  void reads(Connection by, std::size_t bytes) {
    Actions actions;
    broker.core->read(broker.now, by, Bytes{bytes}, actions);
    broker.carry_out(actions);
  }
};

TEST_F(Reading, WhoDoesNotReadIsSentNoMoreThanAnEighthAndAFrame) {
  attach(2, 1);

  EXPECT_LE(sent(2) * message_bytes, 64U * 1024 + 2 * 64 * 1024);
  EXPECT_GT(sent(2), 0U);
}

TEST_F(Reading, WhoReadsIsSentMore) {
  attach(2, 1);
  const std::size_t first = sent(2);

  reads(2, first * message_bytes);

  EXPECT_GT(sent(2), first);
  for (int i = 0; i < 40; ++i) reads(2, 1 << 20);
  EXPECT_EQ(sent(2), 40U);
}

TEST_F(Reading, OneThatDoesNotReadHoldsUpNobodyElse) {
  attach(2, 1);
  const std::size_t stuck = sent(2);
  attach(3, 2);
  for (int i = 0; i < 40; ++i) reads(3, 1 << 20);

  EXPECT_EQ(sent(2), stuck);
  EXPECT_EQ(sent(3), 40U - stuck);
}

TEST_F(Reading, WhoHasReadAllIsSentAFrameHoweverMuchOthersHaveNot) {
  broker.config.unread_most = Bytes{1};
  broker.restart();
  attach(2, 1);
  attach(3, 2);

  EXPECT_GT(sent(2), 0U);
  EXPECT_GT(sent(3), 0U);
}

TEST_F(Reading, WhatALostConnectionHadNotReadCountsNoMore) {
  attach(2, 1);
  const std::size_t first = sent(2);
  for (Connection session = 3; session < 10; ++session) {
    Actions actions;
    broker.core->disconnected(broker.now, session - 1, actions);
    broker.carry_out(actions);

    v1::Frame frame = Broker::worker_hello(token(1), 1'000'000, session);  // it holds nothing of that
    frame.mutable_hello()->mutable_window()->set_bytes(1ULL << 40U);
    broker.say(session, std::move(frame));
    broker.commit();

    EXPECT_EQ(sent(session), first);
  }
}

}  // namespace
}  // namespace weir::broker::core::testing
