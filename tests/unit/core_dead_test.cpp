// Dead letters: how many are kept, and how long; and types that nobody knows, which become such.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Connection publisher = 1;
constexpr Connection worker = 2;
constexpr Connection other = 3;

/// A worker holds ten messages; the place of message i is (1, 1, i).
struct Graves : Broker {
  explicit Graves(DeadPolicy dead) : Broker(one_queue(dead)) { give(10, worker, token(1)); }
  static std::vector<QueueConfig> one_queue(DeadPolicy dead) {
    QueuePolicy policy = written_first();
    policy.attempts = 1;
    policy.dead = dead;
    return {{"orders", policy}};
  }
  /// Messages [first, first + count) are dead letters, on disk.
  void bury(std::uint32_t first, std::uint32_t count) {
    settle(worker, deliveries(worker).front().lease() + first, count, v1::REJECT);
    commit();
  }
  /// So much time, with a look at the dead letters in it; and what that brings is on disk.
  void look(Duration time = 1s) {
    pass(time);
    commit();
  }
  std::vector<std::uint32_t> dead_ones() {
    std::vector<Place> places;
    store.snapshot()->dead_after(1, std::nullopt, 100, places);
    std::vector<std::uint32_t> all;
    for (const Place& place : places) all.push_back(place.index);
    return all;
  }
  /// The counts of all notes of dead letters that went.
  std::vector<std::string> told() {
    std::vector<std::string> counts;
    for (const Note& note : notes) {
      if (note.event != "dead_letters_trimmed") continue;
      EXPECT_EQ(note.level, Note::Level::warning);
      EXPECT_EQ(note.fields.at(0), (std::pair<std::string, std::string>{"queue", "orders"}));
      EXPECT_EQ(note.fields.at(1).first, "messages");
      counts.push_back(note.fields.at(1).second);
    }
    return counts;
  }
  const v1::Confirmed::Run& answer() { return last(publisher).confirmed().runs(0); }
};

TEST(DeadLetters, OnlyWhatIsTooManyGoesAndTheOldestFirst) {
  Graves broker({.keep = {}, .most = Messages{3}, .on_full = OnDeadFull::oldest});
  broker.bury(0, 3);
  broker.look();
  EXPECT_THAT(broker.dead_ones(), ElementsAre(0, 1, 2));
  EXPECT_THAT(broker.told(), IsEmpty());

  broker.bury(3, 2);
  broker.look();

  EXPECT_THAT(broker.dead_ones(), ElementsAre(2, 3, 4));
  EXPECT_EQ(broker.queue().dead(), 3U);
  EXPECT_EQ(broker.queue().dead_lettered(), 5U);
  broker.look();
  EXPECT_THAT(broker.told(), ElementsAre("2"));  // once
  broker.publish(publisher, 11, 1);              // publishing is not held up
  broker.commit();
  EXPECT_EQ(broker.answer().answer(), v1::Confirmed::CONFIRMED);
  broker.restart();
  EXPECT_EQ(broker.queue().dead(), 3U);
}

TEST(DeadLetters, WhatGoesIsCountedOnceHoweverSlowTheDisk) {
  Graves broker({.keep = 10s, .most = Messages{3}, .on_full = OnDeadFull::oldest});
  broker.bury(0, 5);

  broker.pass(10s);  // two are too many, and the time of all is over
  broker.pass(1s);   // nothing of that is on disk yet

  EXPECT_EQ(broker.queue().dead(), 0U);
  EXPECT_THAT(broker.told(), ElementsAre("5"));
  broker.commit();
  EXPECT_THAT(broker.dead_ones(), IsEmpty());
}

TEST(DeadLetters, WhileTheyAreFullPublishesAreRefusedWithTheReason) {
  Graves broker({.keep = {}, .most = Messages{2}, .on_full = OnDeadFull::refuse});
  broker.bury(0, 1);
  broker.publish(publisher, 11, 1);
  broker.commit();
  EXPECT_EQ(broker.answer().answer(), v1::Confirmed::CONFIRMED);  // one short

  broker.bury(1, 1);
  broker.publish(publisher, 12, 3);
  broker.commit();

  EXPECT_EQ(broker.answer().answer(), v1::Confirmed::REFUSED);
  EXPECT_EQ(broker.answer().count(), 3U);
  EXPECT_EQ(broker.answer().reason(),
            "queue 'orders' has 2 dead letters, which is its most; look at them (weir dead list orders), then replay "
            "or purge");
  EXPECT_EQ(broker.queue().published(), 11U);
  // Failures still become dead letters, all of them, and none goes.
  broker.bury(2, 3);
  broker.look();
  EXPECT_THAT(broker.dead_ones(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(broker.told(), IsEmpty());
  // As is written: a restart finds it full.
  broker.restart();
  broker.open_publisher(publisher);
  broker.publish(publisher, 15, 1);
  broker.commit();
  EXPECT_EQ(broker.answer().answer(), v1::Confirmed::REFUSED);
}

TEST(DeadLetters, PublishingGoesOnOnceSomeArePurgedOrReplayed) {
  Graves broker({.keep = {}, .most = Messages{2}, .on_full = OnDeadFull::refuse});
  std::uint64_t number = 11;
  const auto may_publish = [&] {
    broker.publish(publisher, number++, 1);
    broker.commit();
    return broker.answer().answer() == v1::Confirmed::CONFIRMED;
  };
  broker.bury(0, 3);
  EXPECT_FALSE(may_publish());
  Actions actions;
  broker.core->purge_dead(broker.now, other, 5, {{1, 1, 0}}, actions);
  broker.commit();
  EXPECT_FALSE(may_publish());  // two are left

  broker.core->purge_dead(broker.now, other, 6, {{1, 1, 1}}, actions);
  broker.commit();
  EXPECT_TRUE(may_publish());

  broker.bury(3, 1);
  EXPECT_FALSE(may_publish());
  broker.core->replay_dead(broker.now, other, 7, {{1, 1, 2}}, actions);
  broker.commit();
  EXPECT_TRUE(may_publish());
  EXPECT_THAT(broker.dead_ones(), ElementsAre(3));
}

TEST(DeadLetters, OutputsAreNeverRefused) {
  Graves broker({.keep = {}, .most = Messages{1}, .on_full = OnDeadFull::refuse});
  broker.bury(0, 1);
  v1::Frame frame;
  const std::uint64_t lease = broker.deliveries(worker).front().lease() + 1;
  auto* run = frame.mutable_settle()->add_runs();
  run->set_lease(lease);
  run->set_count(1);
  run->set_outcome(v1::ACK);
  auto* group = frame.mutable_settle()->add_outputs();
  group->set_queue(1);
  group->add_source(lease);
  group->mutable_index()->add_lengths(4);
  group->mutable_index()->add_types("T");

  broker.say(worker, std::move(frame), "more");
  broker.commit();

  EXPECT_EQ(broker.queue().acked(), 1U);
  EXPECT_EQ(broker.queue().published(), 11U);
}

TEST(DeadLetters, AreKeptForTheirTimeAndNoLonger) {
  Graves broker({.keep = 1h, .most = {}, .on_full = OnDeadFull::refuse});
  broker.bury(0, 1);
  broker.look(30min);
  broker.attach(worker, token(1), 100, {broker.claim_of(broker.deliveries(worker).front(), 1)});
  EXPECT_THAT(broker.dead_ones(), ElementsAre(0));
  broker.look(30min - 1s);
  EXPECT_THAT(broker.dead_ones(), ElementsAre(0));
  EXPECT_THAT(broker.told(), IsEmpty());

  broker.look(1s);

  EXPECT_THAT(broker.dead_ones(), IsEmpty());
  EXPECT_EQ(broker.queue().dead(), 0U);
  EXPECT_THAT(broker.told(), ElementsAre("1"));
}

TEST(DeadLetters, AreWalkedThroughHoweverManyThereAre) {
  constexpr int groups = 5;  // 1280; a look goes through 1024
  Broker broker(Graves::one_queue({.keep = 1h, .most = {}, .on_full = OnDeadFull::refuse}));
  broker.give_segments(groups, worker, token(1));
  // Those in front are the younger ones: they must not hide those behind them.
  broker.settle(worker, 1 + 1024, 256, v1::REJECT);
  broker.commit();
  broker.pass_alive(token(1), 1800);
  broker.settle(worker, 1, 1024, v1::REJECT);
  broker.commit();
  ASSERT_EQ(broker.queue().dead(), 1280U);

  broker.pass(30min);
  broker.commit();
  broker.pass(1s);
  broker.commit();

  EXPECT_EQ(broker.queue().dead(), 1024U);
}

TEST(DeadLetters, KeptForEverAreNotGoneAtOnce) {
  Graves broker({.keep = Duration::max(), .most = {}, .on_full = OnDeadFull::refuse});
  broker.bury(0, 1);
  broker.look(24h);
  EXPECT_EQ(broker.queue().dead(), 1U);
}

TEST(DeadLetters, AJumpOfTheWallClockMakesThemNeitherOlderNorYounger) {
  Graves broker({.keep = 1h, .most = {}, .on_full = OnDeadFull::refuse});
  broker.bury(0, 1);
  broker.now.wall -= 48h;
  broker.bury(1, 1);
  broker.now.wall += 96h;
  broker.bury(2, 1);
  broker.now.wall -= 96h;
  v1::Started culprit;
  culprit.set_queue("orders");
  culprit.set_segment(1);
  culprit.set_index(3);
  culprit.set_part(v1::Started::CULPRIT);
  broker.open_keeper(other);
  broker.report(other, token(1), {culprit}, 11);  // its process died of it
  broker.commit();

  broker.look(1h - 1s);
  EXPECT_THAT(broker.dead_ones(), ElementsAre(0, 1, 2, 3));
  broker.look(1s);
  EXPECT_THAT(broker.dead_ones(), IsEmpty());
}

TEST(DeadLetters, AReplayIsAttemptOneAgainWithItsHistory) {
  Broker broker;
  broker.give(1, worker, token(1));
  broker.settle(worker, 1, 1, v1::REJECT);
  broker.commit();
  ASSERT_EQ(broker.queue().dead(), 1U);
  Actions actions;
  broker.core->replay_dead(broker.now, other, 5, {{1, 1, 0}, {1, 1, 0}, {1, 9, 9}}, actions);
  broker.commit();
  broker.pass(1ms);
  EXPECT_EQ(broker.queue().dead(), 0U);
  ASSERT_EQ(broker.delivered(worker), 2U);
  EXPECT_EQ(broker.deliveries(worker).back().attempt(), 1U);
  broker.settle(worker, broker.deliveries(worker).back().lease(), 1, v1::ACK);
  broker.commit();
  EXPECT_EQ(broker.queue().bytes(), 0U);
}

TEST(Types, WhatNobodyKnowsIsADeadLetterOnceItsGraceIsOver) {
  QueuePolicy policy = written_first();
  policy.unknown_grace = std::chrono::seconds(5);
  policy.dead.keep = 1h;
  Broker broker({{"orders", policy}});
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 2, 0, "a.A");
  broker.commit();
  broker.pass(1min);
  EXPECT_EQ(broker.queue().dead(), 0U);  // nobody is attached: the clock does not run
  broker.attach(worker, token(1), 100, {}, {}, "orders", "b.B");
  const auto pass = [&](int seconds) {
    for (; seconds > 0; --seconds) {
      broker.pass(1s);
      broker.commit();
    }
  };
  pass(1);  // from here it runs: the look of each second finds them
  pass(4);
  EXPECT_EQ(broker.queue().dead(), 0U);
  EXPECT_EQ(broker.queue().unknown(), 2U);
  broker.now.wall -= 48h;
  pass(1);
  EXPECT_EQ(broker.queue().dead(), 2U);
  pass(2);
  EXPECT_EQ(broker.queue().dead(), 2U);  // no older by the jump
}

TEST(Types, TheGraceDoesNotRunWhileNobodyIsAttached) {
  QueuePolicy policy = written_first();
  policy.unknown_grace = std::chrono::seconds(5);
  Broker broker({{"orders", policy}});
  const auto pass = [&](int seconds) {
    for (; seconds > 0; --seconds) {
      broker.pass(1s);
      broker.commit();
    }
  };
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 2, 0, "a.A");
  broker.attach(worker, token(1), 100, {}, {}, "orders", "b.B");
  pass(3);
  v1::Frame goodbye;
  goodbye.mutable_goodbye();
  broker.say(worker, goodbye);
  pass(60);
  broker.attach(4, token(2), 100, {}, {}, "orders", "b.B");
  pass(4);
  EXPECT_EQ(broker.queue().dead(), 0U);
  pass(4);
  EXPECT_EQ(broker.queue().dead(), 2U);
}

}  // namespace
}  // namespace weir::broker::core::testing
