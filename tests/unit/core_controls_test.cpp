// What a process left behind is suspect too; and before suspects are charged one after the other, their plugin must
// live without them.
#include <gmock/gmock.h>

#include "suspects_fixture.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

struct LeftBehind : Suspects {};
struct Controls : Suspects {
  /// It is tried alone by that process, which dies of it after so long.
  void dies_alone(unsigned char process, std::uint32_t index, Duration after = 10ms) {
    ASSERT_THAT(indexes(process), ElementsAre(index));
    broker->pass(after);
    die(process, {{index, ended}});
  }
  /// The messages with these places were all that a process had begun when it died.
  void make_suspects(unsigned char process, const std::vector<std::uint32_t>& of) {
    Parts parts;
    for (const std::uint32_t index : of) parts.emplace_back(index, suspended);
    die(process, parts);
  }
  /// Of two suspects, 3 was charged at once as it died alone; 6 is being tried alone, by process 5.
  void charge_one_and_try_another() {
    make_suspects(1, {3, 6});
    attach(2);
    die(2, {{3, ended}});
    attach(3);
    dies_alone(3, 3);
    EXPECT_EQ(attempts_of(3), 1U);  // the first needs no control
    attach(4);
    ASSERT_THAT(indexes(4), Contains(6));
    die(4, {{6, ended}});
    attach(5);
    ASSERT_THAT(indexes(5), ElementsAre(6));
  }
  /// Then 6 died alone too, and waits for a control.
  void charge_one_and_accuse_another() {
    charge_one_and_try_another();
    dies_alone(5, 6);
  }
  std::uint32_t attempts_of(std::uint32_t index) { return broker->record({1, 1, index}).attempts(); }
};

TEST_F(LeftBehind, WhatHadEndedIsSuspectIfItsSettlementWasNotHeard) {
  settle(1, 4);
  die(1, {{4, ended}, {5, ended}, {6, suspended}});  // 4 was heard: it is gone
  EXPECT_EQ(broker->queue().acked(), 1U);
  EXPECT_EQ(suspicion(5), v1::HAD_ENDED);
  EXPECT_EQ(suspicion(6), v1::WAS_STARTED);
  EXPECT_EQ(broker->queue().retried(), 0U);
}

TEST_F(LeftBehind, WhatEndedLastIsTriedFirst) {
  die(1, {{2, suspended}, {8, ended}, {3, ended}, {5, ended}});
  attach(2);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 4, 6, 7, 8, 9));
  settle(2, 8);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 3, 4, 5, 6, 7, 9));
  settle(2, 3);
  settle(2, 5);
  EXPECT_THAT(indexes(2), Contains(2));
}

TEST_F(LeftBehind, OneThatKillsItsProcessAfterItsHandlerEndedIsChargedUntilItIsDead) {
  int starts = 1;
  die(1, {{3, ended}});
  for (unsigned char process = 2; broker->queue().dead() == 0; ++process) {
    ASSERT_LT(process, 20);
    attach(process);
    ASSERT_TRUE(gets(process, 3));
    ++starts;
    die(process, {{3, ended}});
  }
  EXPECT_EQ(broker->queue().retried(), 2U);
  EXPECT_LE(starts, 2 * 3 + 1);
  EXPECT_EQ(broker->dead({1, 1, 3}).history_size(), 3);
  EXPECT_EQ(broker->queue().suspects(), 0U);
}

TEST_F(LeftBehind, WhatItsWorkerSaidItHadSettledIsSuspect) {
  const auto all = broker->deliveries(of(1));
  auto settled_one = broker->claim_of(all.front(), 1);
  settled_one.set_first(7);
  settled_one.set_lease(all.front().lease() + 7);
  settled_one.set_count(1);
  // Its connection was cut: it says HELLO again, and dies before it has sent its settlements again.
  broker->attach(of(1) + 1, token(1), 100, {}, {settled_one});
  broker->commit();
  die(1, {});
  EXPECT_EQ(suspicion(7), v1::HAD_ENDED);
  attach(2);
  EXPECT_EQ(broker->queue().suspects(), 1U);
}

TEST_F(LeftBehind, ACulpritThatIsSettledAlreadyLeavesNobodySuspect) {
  settle(1, 4);
  die(1, {{4, v1::Started::CULPRIT}, {5, on_cpu}, {6, ended}});
  attach(2);
  EXPECT_EQ(broker->queue().suspects(), 0U);
  EXPECT_EQ(indexes(2).size(), 9U);
}

TEST_F(LeftBehind, ALineOfTheLogNamesThem) {
  die(1, {{8, ended}, {3, suspended}});
  const auto line = std::ranges::find(broker->notes, "suspects", &Note::event);
  ASSERT_NE(line, broker->notes.end());
  EXPECT_THAT(line->fields, Contains(std::pair<std::string, std::string>("tried_first", "orders/1.8 orders/1.3")));
}

TEST_F(LeftBehind, WhatRanBesideASuspectIsSuspectToo) {
  die(1, {{3, ended}});
  attach(2);
  die(2, {{3, suspended}, {6, ended}});
  EXPECT_EQ(suspicion(3), v1::ALONE);
  EXPECT_EQ(suspicion(6), v1::HAD_ENDED);
}

TEST_F(Controls, ASecondMessageIsChargedOnlyOnceItsPluginHasLivedAsLongWithoutIt) {
  charge_one_and_try_another();
  dies_alone(5, 6, 600ms);
  EXPECT_EQ(broker->queue().retried(), 1U);
  EXPECT_EQ(broker->queue().suspects(), 1U);

  attach(6);
  live(6, 840ms);
  EXPECT_THAT(indexes(6), IsEmpty());  // it stands by
  EXPECT_EQ(broker->queue().retried(), 1U);
  live(6, 60ms);
  ASSERT_EQ(attempts_of(6), 1U);
  EXPECT_EQ(broker->record({1, 1, 6}).history(0).duration_us(), 600'000U);
  EXPECT_FALSE(told("plugin_dies_by_itself"));
  EXPECT_THAT(indexes(6), ElementsAre(3));  // and goes on
}

TEST_F(Controls, AfterALongTrialAControlLivesForMinutes) {
  charge_one_and_try_another();
  live(5, 50min);
  die(5, {{6, ended}});
  attach(6);
  live(6, 6min);
  EXPECT_EQ(attempts_of(6), 0U);
  live(6, 20s);
  ASSERT_EQ(attempts_of(6), 1U);
  EXPECT_EQ(broker->record({1, 1, 6}).history(0).duration_us(), 3'000'000'000U);
}

TEST_F(Controls, IfTheProcessDiesWithoutThemNobodyIsChargedAndSuspectsWait) {
  charge_one_and_accuse_another();
  attach(6);
  live(6, 100ms);
  die(6, {});
  EXPECT_TRUE(told("plugin_dies_by_itself"));
  EXPECT_EQ(broker->queue().retried(), 1U);

  attach(7);
  live(7, 500ms);
  EXPECT_THAT(indexes(7), ElementsAre(0, 1, 2, 4, 5, 7, 8, 9));  // without the suspects
  live(7, 600ms);
  EXPECT_TRUE(gets(7, 6));
}

TEST_F(Controls, APluginThatDiesByItselfChargesNobodyTwiceHoweverLongItGoesOn) {
  // Every process dies half a second after it began to work, whatever it holds.
  die(1, {{0, suspended}, {1, suspended}, {2, suspended}, {3, suspended}, {4, suspended}, {5, suspended}});
  unsigned char process = 2;
  for (int round = 0; round < 60; ++round, process = process == 250 ? 2 : process + 1) {
    attach(process);
    live(process, 500ms);
    Parts parts;
    for (const auto& [index, lease] : held(process)) parts.emplace_back(index, suspended);
    die(process, parts);
    broker->inbox.erase(of(process));
    live(process, 1s);
  }
  EXPECT_LE(broker->queue().retried(), 1U);
  EXPECT_EQ(broker->queue().dead(), 0U);
  EXPECT_TRUE(told("plugin_dies_by_itself"));
}

TEST_F(Controls, APluginThatDiesOfItsAgeChargesNobodyASecondTime) {
  // Every process dies when it is two seconds old, whatever it is at; its trials are much shorter.
  make_suspects(1, {0, 1, 2, 3, 4, 5});
  unsigned char process = 2;
  for (int round = 0; round < 60; ++round, process = process == 250 ? 2 : process + 1) {
    attach(process);
    for (int i = 0; i < 20; ++i) {
      live(process, 100ms);
      if (i < 17) {
        for (const auto& [index, lease] : held(process)) settle(process, index, v1::RELEASE);
      }
    }
    Parts parts;
    for (const auto& [index, lease] : held(process)) parts.emplace_back(index, suspended);
    die(process, parts);
    broker->inbox.erase(of(process));
  }
  EXPECT_LE(broker->queue().retried(), 1U);
  EXPECT_EQ(broker->queue().dead(), 0U);
}

struct OnlyAttempt : Suspects {
  OnlyAttempt() : Suspects(1) {}
};

TEST_F(OnlyAttempt, IsNeverChargedWithoutAControl) {
  die(1, {{3, suspended}});
  attach(2);
  die(2, {{3, ended}});
  attach(3);
  ASSERT_THAT(indexes(3), ElementsAre(3));
  die(3, {{3, ended}});
  EXPECT_EQ(broker->queue().dead(), 0U);
  attach(4);
  live(4, 200ms);
  EXPECT_EQ(broker->queue().dead(), 0U);
  live(4, 100ms);
  EXPECT_EQ(broker->queue().dead(), 1U);
}

TEST_F(Controls, AfterAnHourTheFirstIsChargedAsItIsAgain) {
  make_suspects(1, {3, 6});
  attach(2);
  die(2, {{3, ended}});
  attach(3);
  dies_alone(3, 3);
  broker->pass(61min);
  broker->commit();
  attach(4);
  // Both wait to be tried: the one that was charged stays suspect.
  dies_alone(4, 3);
  EXPECT_EQ(attempts_of(3), 2U);
}

TEST_F(Controls, OfSeveralProcessesOneStandsByAndTheOthersWork) {
  charge_one_and_accuse_another();
  attach(6);
  attach(7);
  live(6, 30ms);
  EXPECT_NE(indexes(6).empty(), indexes(7).empty());
  live(7, 300ms);
  EXPECT_EQ(attempts_of(6), 1U);
}

TEST_F(Controls, OneThatIsStoppedOnPurposeSaysNothing) {
  charge_one_and_accuse_another();
  attach(6);
  live(6, 100ms);
  die(6, {}, true);
  EXPECT_FALSE(told("plugin_dies_by_itself"));
  EXPECT_EQ(broker->queue().retried(), 1U);
  attach(7);
  live(7, 300ms);
  EXPECT_EQ(attempts_of(6), 1U);
}

}  // namespace
}  // namespace weir::broker::core::testing
