// Who pays when a process dies.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;
constexpr Connection other = 3;
constexpr Connection keeper = 4;

v1::Started started(std::uint32_t index, v1::Started::Part part, std::uint64_t segment = 1) {
  v1::Started one;
  one.set_queue("orders");
  one.set_segment(segment);
  one.set_index(index);
  one.set_part(part);
  return one;
}

/// Ten messages in the hands of one worker; the place of message i is (1, 1, i).
struct Death : ::testing::Test {
  Death() {
    QueuePolicy policy = written_first();
    policy.attempts = 3;
    policy.backoff = {1s, 2, 1min, 0};
    broker = std::make_unique<Broker>(std::vector<QueueConfig>{{"orders", policy}});
    broker->open_publisher(publisher);
    broker->publish(publisher, 1, 10);
    broker->commit();
    broker->attach(worker, token(1));
    broker->open_keeper(keeper);
    broker->commit();
  }
  /// (index, attempt) of all that was delivered to it.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> attempts(Connection to) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> all;
    for (const auto& one : broker->deliveries(to)) {
      for (int i = 0; i < one.index().lengths_size(); ++i) {
        all.emplace_back(one.first() + static_cast<std::uint32_t>(i), one.attempt());
      }
    }
    return all;
  }
  std::unique_ptr<Broker> broker;
};

// Simulation, seed 207402. The places that it names may be of a store that was wiped, or of what an older copy lacks.
TEST_F(Death, AProcessOfTwoStoresJudgesNobodyAlsoAfterARestart) {
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    Broker again({{"orders", written_first()}});
    again.open_publisher(publisher);
    again.publish(publisher, 1, 3);
    again.commit();
    v1::Frame hello = Broker::worker_hello(token(1), 100, 1);
    hello.mutable_hello()->set_store("another of 16 B.");
    again.say(worker, hello);
    again.commit();
    ASSERT_EQ(again.delivered(worker), 3U);
    const auto held = again.deliveries(worker).front();
    if (restarted) {
      again.restart();
      hello = Broker::worker_hello(token(1), 100, 2);
      *hello.mutable_hello()->add_held() = again.claim_of(held, 1);
      again.say(worker + 10, hello);
      again.commit();
    }
    again.open_keeper(keeper);
    again.report(keeper, token(1), {started(0, v1::Started::SUSPENDED), started(1, v1::Started::CULPRIT)}, 11);
    again.commit();
    again.attach(other, token(2));
    again.commit();
    EXPECT_EQ(again.delivered(other), 3U);
    EXPECT_EQ(again.queue().retried(), 0U);
    for (const auto& note : again.notes) EXPECT_NE(note.event, "suspects");
  }
}

TEST_F(Death, TheCulpritIsChargedAndTheRestReturnsAtOnceUncharged) {
  v1::Started culprit = started(4, v1::Started::CULPRIT);
  culprit.mutable_attempt()->set_error("signal 11 (SIGSEGV) at address 0");
  culprit.mutable_attempt()->set_stack("shop::Handler()\nmain");
  culprit.mutable_attempt()->set_memory_grown_bytes(4096);
  culprit.mutable_attempt()->add_log("about to look at nothing");
  broker->report(keeper, token(1), {started(3, v1::Started::SUSPENDED), culprit}, 11);
  broker->attach(other, token(2));
  broker->commit();

  EXPECT_EQ(broker->delivered(other), 9U);
  for (const auto& [index, attempt] : attempts(other)) {
    EXPECT_NE(index, 4U);
    EXPECT_EQ(attempt, 1U);
  }
  EXPECT_EQ(broker->queue().retried(), 1U);
  broker->pass(990ms);
  EXPECT_EQ(broker->delivered(other), 9U);
  broker->pass(20ms);
  EXPECT_EQ(attempts(other).back(), std::pair(4U, 2U));

  const v1::Record record = broker->record({1, 1, 4});
  ASSERT_EQ(record.history_size(), 1);
  EXPECT_EQ(record.history(0).number(), 1U);
  EXPECT_EQ(record.history(0).worker(), "shop//0/0");
  EXPECT_EQ(record.history(0).error(), "signal 11 (SIGSEGV) at address 0");
  EXPECT_EQ(record.history(0).stack(), "shop::Handler()\nmain");
  EXPECT_EQ(record.history(0).memory_grown_bytes(), 4096);
  EXPECT_THAT(record.history(0).log(), ::testing::ElementsAre("about to look at nothing"));
}

TEST_F(Death, OutOfAttemptsTheCulpritIsADeadLetter) {
  for (unsigned char process = 1; process <= 3; ++process) {
    ASSERT_EQ(broker->queue().dead(), 0U);
    broker->report(keeper, token(process), {started(4, v1::Started::CULPRIT)}, 11);
    broker->attach(worker + 10U * process, token(static_cast<unsigned char>(process + 1)));
    broker->commit();
    broker->pass(5s);
    broker->keep_alive(keeper, token(static_cast<unsigned char>(process + 1)));
    broker->pass(1s);
    broker->commit();
  }
  EXPECT_EQ(broker->queue().dead(), 1U);
  EXPECT_EQ(broker->queue().dead_lettered(), 1U);
  EXPECT_EQ(broker->queue().leased(), 9U);
  EXPECT_EQ(broker->queue().bytes(), 90U);
  const v1::Record record = broker->dead({1, 1, 4});
  EXPECT_EQ(record.attempts(), 3U);
  ASSERT_EQ(record.history_size(), 3);
  EXPECT_EQ(record.history(2).error(), "its process was ended by signal 11");
}

TEST_F(Death, IsAnsweredOnceTheChargeIsOnDiskAndNothingGoesToOthersBefore) {
  broker->attach(other, token(2));
  broker->commit();
  broker->pass(0s);  // the beats that are due are out
  const std::size_t heard = broker->inbox[keeper].size();

  broker->report(keeper, token(1), {started(4, v1::Started::CULPRIT)}, 11);

  EXPECT_EQ(broker->inbox[keeper].size(), heard);
  EXPECT_EQ(broker->delivered(other), 0U);
  ASSERT_TRUE(broker->seal());
  const auto charges = std::count_if(broker->sealed->writes.begin(), broker->sealed->writes.end(),
                                     [](const Write& write) { return std::holds_alternative<MoveMessage>(write); });
  const auto ends = std::count_if(broker->sealed->writes.begin(), broker->sealed->writes.end(),
                                  [](const Write& write) { return std::holds_alternative<ForgetSession>(write); });
  EXPECT_EQ(charges, 1);
  EXPECT_EQ(ends, 1);
  broker->finish_commit();
  EXPECT_TRUE(broker->last(keeper).has_control_reply());
  EXPECT_EQ(broker->delivered(other), 9U);
}

TEST_F(Death, WhatTheProcessDidNotHoldIsNotCharged) {
  broker->attach(other, token(2));
  broker->publish(publisher, 11, 1);
  broker->commit();
  const auto theirs =
      broker->deliveries(other).empty() ? broker->deliveries(worker).back() : broker->deliveries(other).back();
  broker->settle(worker, 1, 1, v1::ACK);  // message 0 is done
  v1::Started stranger = started(0, v1::Started::CULPRIT);
  stranger.set_queue("no such queue");

  broker->report(keeper, token(broker->deliveries(other).empty() ? 2 : 1),
                 {started(0, v1::Started::CULPRIT), started(7, v1::Started::CULPRIT, 99),
                  started(theirs.first(), v1::Started::CULPRIT, theirs.segment()), stranger},
                 11);
  broker->commit();

  EXPECT_EQ(broker->queue().retried(), 0U);
  EXPECT_EQ(broker->queue().dead(), 0U);
  EXPECT_EQ(broker->queue().acked(), 1U);
}

TEST_F(Death, ARecordIsChargedAsAMessageOfASegmentIs) {
  broker->settle(worker, 5, 1, v1::RETRY, 1000);  // message 4
  broker->commit();
  broker->pass(5ms);
  ASSERT_EQ(attempts(worker).back(), std::pair(4U, 2U));

  broker->report(keeper, token(1), {started(4, v1::Started::CULPRIT)}, 11);
  broker->attach(other, token(2));
  broker->commit();
  broker->pass(2100ms);

  EXPECT_EQ(attempts(other).back(), std::pair(4U, 3U));
  EXPECT_EQ(broker->record({1, 1, 4}).history_size(), 2);
}

TEST_F(Death, TheChargeOutlivesTheBroker) {
  broker->report(keeper, token(1), {started(4, v1::Started::CULPRIT)}, 11);
  broker->commit();
  broker->restart();
  broker->attach(other, token(2));
  broker->commit();
  EXPECT_EQ(broker->delivered(other), 9U);
  broker->pass(1100ms);
  EXPECT_EQ(attempts(other).back(), std::pair(4U, 2U));
}

TEST_F(Death, TheHistoryIsBoundedAndStaysText) {
  v1::Started culprit = started(4, v1::Started::CULPRIT);
  std::string umlauts = "x";
  for (int i = 0; i < 100'000; ++i) umlauts += "ü";
  culprit.mutable_attempt()->set_error(umlauts);
  culprit.mutable_attempt()->set_stack(umlauts);
  for (int i = 0; i < 10'000; ++i) culprit.mutable_attempt()->add_log(umlauts.substr(0, 2001) + std::to_string(i));
  culprit.mutable_attempt()->add_log("the last line");
  broker->report(keeper, token(1), {culprit}, 11);
  broker->commit();

  const v1::Record record = broker->record({1, 1, 4});  // it parses
  ASSERT_EQ(record.history_size(), 1);
  EXPECT_LT(record.ByteSizeLong(), 20'000U);
  EXPECT_GT(record.history(0).stack().size(), 8000U);
  EXPECT_EQ(record.history(0).log(record.history(0).log_size() - 1), "the last line");
  EXPECT_GT(record.history(0).log_size(), 5);
}

TEST_F(Death, ALongErrorOfARetryIsCutBetweenCharacters) {
  v1::Frame frame;
  auto* run = frame.mutable_settle()->add_runs();
  run->set_lease(5);
  run->set_count(1);
  run->set_outcome(v1::RETRY);
  std::string umlauts = "x";
  for (int i = 0; i < 4096; ++i) umlauts += "ü";
  run->set_error(umlauts);
  broker->say(worker, frame);
  broker->commit();
  EXPECT_EQ(broker->record({1, 1, 4}).history(0).error().size(), 4095U);
}

}  // namespace
}  // namespace weir::broker::core::testing
