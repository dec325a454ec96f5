// Suspects: who is tried how, after a process died of nobody knows what.
#include <gmock/gmock.h>

#include "suspects_fixture.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

TEST_F(Suspects, AreWhatHadStartedAndAreWrittenInTheCommitOfTheDeath) {
  broker->report(keeper, token(1), {});  // nothing had started
  broker->commit();
  EXPECT_EQ(broker->queue().suspects(), 0U);
  attach(2);
  ASSERT_EQ(indexes(2).size(), 10U);
  v1::Started one;
  one.set_queue("orders");
  one.set_segment(1);
  one.set_index(3);
  one.set_part(on_cpu);
  v1::Started two = one;
  two.set_index(5);
  two.set_part(suspended);
  broker->report(keeper, token(2), {one, two});

  ASSERT_TRUE(broker->seal());
  int moves = 0;
  int ends = 0;
  for (const Write& write : broker->sealed->writes) {
    if (const auto* move = std::get_if<MoveMessage>(&write)) {
      ++moves;
      EXPECT_EQ(move->suspicion, move->place.index == 3 ? v1::WAS_ON_CPU : v1::WAS_STARTED);
      EXPECT_EQ(move->attempts, 0U);
    }
    if (std::holds_alternative<ForgetSession>(write)) ++ends;
  }
  EXPECT_EQ(moves, 2);
  EXPECT_EQ(ends, 1);
  broker->finish_commit();
  EXPECT_EQ(suspicion(3), v1::WAS_ON_CPU);
  EXPECT_EQ(suspicion(5), v1::WAS_STARTED);
  broker->pass(1ms);
  EXPECT_EQ(broker->queue().ready(), 10U);
  EXPECT_EQ(broker->queue().suspects(), 2U);
}

TEST_F(Suspects, AreTriedOneAtATimeBesideTheOthersThoseOnTheCpuFirst) {
  die(1, {{3, suspended}, {6, on_cpu}, {8, suspended}});
  attach(2);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 2, 4, 5, 6, 7, 9));
  EXPECT_EQ(broker->queue().suspects(), 3U);
  settle(2, 0);
  EXPECT_THAT(indexes(2), Not(Contains(3)));
  settle(2, 6);  // cleared: two may be tried at once
  EXPECT_THAT(indexes(2), ElementsAre(1, 2, 3, 4, 5, 7, 8, 9));
  settle(2, 3, v1::RETRY);
  settle(2, 8, v1::DEFER);
  broker->pass(1100ms);
  EXPECT_EQ(suspicion(3), v1::UNSUSPECTED);
  EXPECT_EQ(broker->queue().suspects(), 0U);
}

TEST_F(Suspects, OneThatWasOnTheCpuIsTriedWithNoOtherBesideIt) {
  die(1, {{3, suspended}, {6, on_cpu}, {7, on_cpu}});
  attach(2);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 2, 4, 5, 6, 8, 9));
  settle(2, 6);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 2, 4, 5, 7, 8, 9));
  settle(2, 7);
  EXPECT_THAT(indexes(2), Contains(3));
}

TEST_F(Suspects, OneThatIsReleasedStaysSuspectAsItsHandlerMayNotHaveStarted) {
  die(1, {{3, on_cpu}, {4, on_cpu}});
  attach(2);
  settle(2, 3, v1::RELEASE);
  EXPECT_EQ(broker->queue().suspects(), 2U);
  EXPECT_EQ(indexes(2).size(), 9U);
}

TEST_F(Suspects, OneThatIsAloneOnTheCpuWhenItsProcessDiesIsChargedAndNobodyElse) {
  die(1, {{3, suspended}, {6, on_cpu}});
  attach(2);
  die(2, {{0, suspended}, {1, suspended}, {6, on_cpu}});
  attach(3);
  EXPECT_THAT(indexes(3), ElementsAre(0, 1, 2, 3, 4, 5, 7, 8, 9));  // 3 is tried
  EXPECT_EQ(broker->queue().suspects(), 1U);
  EXPECT_EQ(broker->queue().retried(), 1U);
  const v1::Record record = broker->record({1, 1, 6});
  EXPECT_EQ(record.attempts(), 1U);
  EXPECT_EQ(record.history(0).error(),
            "its process was ended by signal 9 while it was tried, and nothing else was on the CPU");
  // It is tried, not trusted, the next time.
  settle(3, 3);
  broker->pass(1100ms);
  EXPECT_THAT(indexes(3), Contains(6));
  EXPECT_THAT(charged, ElementsAre(6));
  EXPECT_EQ(broker->queue().suspects(), 1U);
}

TEST_F(Suspects, OneThatDiedAsASuspectIsTriedAsOneWhenItIsReplayed) {
  die(1, {{6, on_cpu}});
  for (unsigned char process = 2; broker->queue().dead() == 0; ++process) {
    ASSERT_LE(process, 6);
    attach(process);
    ASSERT_TRUE(gets(process, 6));
    die(process, {{6, on_cpu}});
    live(process, 10ms);
  }
  ASSERT_EQ(broker->queue().dead(), 1U);
  EXPECT_EQ(broker->dead({1, 1, 6}).history_size(), 3);
  Actions actions;
  broker->core->replay_dead(broker->now, 0, 1, {{1, 1, 6}}, actions);
  broker->commit();
  broker->pass(1ms);
  attach(5);
  EXPECT_EQ(broker->queue().suspects(), 1U);
  EXPECT_THAT(indexes(5), Contains(6));
}

TEST_F(Suspects, ThoseThatDiedTogetherAreTriedAloneOneAfterTheOther) {
  die(1, {{6, on_cpu}});
  attach(2);
  die(2, {{0, suspended}, {1, on_cpu}, {6, on_cpu}});
  attach(3);
  const auto alone = indexes(3);
  ASSERT_EQ(alone.size(), 1U);  // the first to be there, so nothing had to be finished
  EXPECT_THAT(alone, ElementsAre(1));
  settle(3, 1);
  broker->pass(250ms);
  EXPECT_THAT(indexes(3), ElementsAre(6));
  die(3, {{6, suspended}});
  EXPECT_EQ(broker->record({1, 1, 6}).attempts(), 1U);
  attach(4);
  EXPECT_THAT(indexes(4), ElementsAre(0, 2, 3, 4, 5, 7, 8, 9));  // while 6 waits for its backoff
  EXPECT_EQ(broker->queue().retried(), 1U);
}

TEST_F(Suspects, AProcessFinishesWhatItHasBeforeItTriesOneAlone) {
  die(1, {{6, on_cpu}});
  attach(2, 4);
  ASSERT_THAT(indexes(2), ElementsAre(0, 1, 2, 6));
  attach(3, 1);
  ASSERT_THAT(indexes(3), ElementsAre(3));
  die(2, {{1, on_cpu}, {6, on_cpu}});
  // Process 3 is the only one, and 2 does not come back: it is sent nothing more, then the two, one by one.
  live(3, 5s);
  EXPECT_THAT(indexes(3), ElementsAre(3));
  settle(3, 3);
  broker->pass(249ms);
  EXPECT_THAT(indexes(3), IsEmpty());  // what it has handled may have left something behind, that ends it yet
  EXPECT_LE(broker->core->next_tick(), broker->now.instant + 1ms);
  broker->pass(1ms);
  EXPECT_THAT(indexes(3), ElementsAre(1));
  settle(3, 1);
  broker->pass(250ms);
  EXPECT_THAT(indexes(3), ElementsAre(6));
  settle(3, 6);
  EXPECT_EQ(indexes(3).size(), 1U);  // and goes on
  EXPECT_EQ(broker->queue().suspects(), 0U);
}

TEST_F(Suspects, OneProcessOfAGroupIsSpared) {
  die(1, {{3, on_cpu}, {6, on_cpu}, {8, on_cpu}});
  attach(2);
  ASSERT_THAT(indexes(2), Contains(3));  // the only one so far: it tries
  attach(5);
  EXPECT_THAT(indexes(5), ElementsAre(6));
  settle(2, 3);
  EXPECT_THAT(indexes(2), Not(Contains(8)));
  settle(5, 6);
  EXPECT_THAT(indexes(5), ElementsAre(8));
}

TEST_F(Suspects, TheLastProcessOfAGroupWaitsForTheOtherBeforeItTriesOneThatWasOnTheCpu) {
  attach(2);
  die(1, {{3, on_cpu}, {6, suspended}});
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 2, 4, 5, 6, 7, 8, 9));
  live(2, 2s);
  EXPECT_EQ(broker->queue().suspects(), 2U);
  attach(5);
  EXPECT_THAT(indexes(5), ElementsAre(3));
}

TEST_F(Suspects, TheLastProcessOfAGroupTriesThemIfNoOtherComesBackWithinFiveSeconds) {
  attach(2);
  die(1, {{3, on_cpu}});
  live(2, 4900ms);
  EXPECT_THAT(indexes(2), Not(Contains(3)));
  live(2, 110ms);
  EXPECT_THAT(indexes(2), Contains(3));
}

TEST_F(Suspects, AProcessThatWasEndedOnPurposeIsNotWaitedFor) {
  attach(2);
  die(1, {}, true);
  die(2, {{3, on_cpu}});
  attach(5);
  EXPECT_THAT(indexes(5), Contains(3));
}

TEST_F(Suspects, TheLastProcessOfAGroupWaitsForOneThatIsCutOffAndMayHaveDied) {
  attach(2);
  attach(5);
  die(1, {{3, on_cpu}, {6, on_cpu}});
  ASSERT_THAT(held(5), Contains(::testing::Key(3)));
  Actions actions;
  broker->core->disconnected(broker->now, of(5), actions);
  for (const auto& [index, lease] : held(2)) settle(2, index);
  live(2, 6s);  // one that ended would not be waited for any more
  EXPECT_THAT(held(2), Not(Contains(::testing::Key(6))));
  live(2, 20s);  // the other is lost
  EXPECT_TRUE(gets(2, 6));
}

TEST_F(Suspects, AProcessOfTheGroupThatServesOtherQueuesIsNotWaitedFor) {
  QueuePolicy policy = written_first();
  policy.attempts = 3;
  broker = std::make_unique<Broker>(std::vector<QueueConfig>{{"orders", policy}, {"emails", policy}});
  broker->open_publisher(publisher);
  broker->publish(publisher, 1, 2);
  broker->commit();
  broker->open_keeper(keeper);
  attach(1);
  broker->attach(of(2), token(2), 100, {}, {}, "emails");
  broker->commit();
  die(1, {{0, on_cpu}});
  attach(3);
  EXPECT_THAT(indexes(3), Contains(0));
}

TEST_F(Suspects, TheLastProcessThatWasKeptForOneTakesOthersWhileItWaits) {
  die(1, {{3, on_cpu}});
  attach(2);
  attach(5);
  attach(6);
  broker->publish(publisher, 11, 8);
  broker->commit();
  ASSERT_THAT(held(6), Not(IsEmpty()));
  die(5, {{3, suspended}});
  for (int i = 0; i < 100 && !held(6).empty(); ++i) settle(6, held(6).begin()->first);
  ASSERT_THAT(held(6), IsEmpty());  // it is to try 3 alone, and must be quiet before
  die(2, {});
  EXPECT_THAT(held(6), Not(IsEmpty()));
}

TEST_F(Suspects, ADeadLetterWhoseCauseIsKnownIsNoSuspectWhenItIsReplayed) {
  for (unsigned char process = 1; process <= 3; ++process) {
    ASSERT_TRUE(gets(process, 3));
    die(process, {{3, v1::Started::CULPRIT}});
    attach(static_cast<unsigned char>(process + 1));
  }
  EXPECT_EQ(broker->dead({1, 1, 3}).attempts(), 3U);
  EXPECT_EQ(broker->dead({1, 1, 3}).suspicion(), v1::UNSUSPECTED);
}

TEST_F(Suspects, AMessageThatEndedItsProcessIsTriedAsOneThatWasOnTheCpu) {
  die(1, {{3, v1::Started::CULPRIT}, {6, v1::Started::CULPRIT}});
  attach(2);
  attach(5);
  ASSERT_EQ(indexes(2).size(), 8U);
  live(2, 1100ms);
  broker->keep_alive(keeper, token(5));
  EXPECT_THAT(indexes(5), ElementsAre(3));  // one at a time, and not in each of the group
  EXPECT_EQ(indexes(2).size(), 8U);
  settle(5, 3);
  EXPECT_THAT(indexes(5), ElementsAre(6));
}

TEST_F(Suspects, AreSuspectStillAfterARestart) {
  die(1, {{3, suspended}, {6, on_cpu}, {8, on_cpu}});
  broker->restart();
  broker->open_keeper(keeper);
  attach(2);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 2, 4, 5, 6, 7, 9));
  // And while one is tried.
  const auto all = broker->deliveries(of(2));
  std::vector<v1::Claim> claims;
  for (const auto& one : all) claims.push_back(broker->claim_of(one, 2));
  broker->restart();
  broker->open_keeper(keeper);
  broker->attach(of(2), token(2), 100, claims);
  broker->commit();
  EXPECT_THAT(indexes(2), IsEmpty());  // 8 must wait until 6 has settled
  die(2, {{6, on_cpu}});
  EXPECT_EQ(broker->record({1, 1, 6}).attempts(), 1U);
}

TEST_F(Suspects, AllThatALostProcessHeldIsSuspectUntilItComesBack) {
  for (int i = 0; i < 12; ++i) broker->pass(1s);
  broker->commit();
  EXPECT_EQ(broker->queue().suspects(), 0U);  // nobody has looked
  attach(2);
  EXPECT_EQ(broker->queue().suspects(), 10U);
  EXPECT_EQ(indexes(2).size(), 1U);
  const auto claim = broker->claim_of(broker->deliveries(of(1)).front(), 1);
  broker->attach(of(1) + 1, token(1), 100, {claim});
  broker->commit();
  EXPECT_TRUE(broker->inbox[of(1) + 1].front().welcome().claims(0).stale());
  EXPECT_EQ(broker->queue().suspects(), 1U);  // the one that is being tried
  EXPECT_EQ(broker->delivered(of(1) + 1) + broker->delivered(of(2)), 10U);
}

TEST_F(Suspects, OfALostProcessThatIsReportedDeadOnlyWhatHadBegunStaysSuspect) {
  for (int i = 0; i < 12; ++i) broker->pass(1s);
  broker->commit();
  attach(2);
  ASSERT_THAT(indexes(2), ElementsAre(0));
  // It was frozen, and has been killed for it.
  die(1, {{0, suspended}, {3, suspended}, {6, on_cpu}});
  EXPECT_EQ(suspicion(3), v1::WAS_STARTED);
  EXPECT_EQ(suspicion(6), v1::WAS_ON_CPU);
  EXPECT_EQ(broker->queue().suspects(), 3U);
  EXPECT_EQ(broker->queue().retried(), 0U);
  broker->pass(1ms);
  EXPECT_THAT(indexes(2), ElementsAre(0, 1, 2, 4, 5, 7, 8, 9));
  settle(2, 0);
  EXPECT_THAT(indexes(2), Contains(6));
}

TEST_F(Suspects, OneThatIsLostWithItsProcessTwiceIsTriedAloneAndThenCharged) {
  const auto lose = [&] {
    for (int i = 0; i < 12; ++i) broker->pass(1s);
    broker->commit();
  };
  lose();
  attach(2, 1);
  ASSERT_THAT(indexes(2), ElementsAre(0));
  lose();
  EXPECT_EQ(suspicion(0), v1::ALONE);
  attach(3);
  EXPECT_THAT(indexes(3), ElementsAre(0));
  lose();
  // It may come back: it is given up only once who froze it has had the time to kill it for that.
  attach(4);
  live(4, 18s);
  EXPECT_EQ(broker->record({1, 1, 0}).attempts(), 0U);
  live(4, 3s);
  EXPECT_EQ(broker->record({1, 1, 0}).attempts(), 1U);
  EXPECT_EQ(broker->record({1, 1, 0}).history_size(), 1);
}

TEST_F(Suspects, OneThatIsLostWhileItIsTriedAloneIsNotChargedIfItsProcessComesBack) {
  const auto lose = [&] {
    for (int i = 0; i < 12; ++i) broker->pass(1s);
    broker->commit();
  };
  lose();
  attach(2, 1);
  lose();
  attach(3);
  ASSERT_THAT(indexes(3), ElementsAre(0));
  lose();
  broker->attach(of(3) + 1, token(3), 100);
  broker->commit();
  for (int i = 0; i < 40; ++i) live(3, 1s);
  EXPECT_EQ(broker->record({1, 1, 0}).attempts(), 0U);
  EXPECT_EQ(broker->queue().retried(), 0U);
}

TEST_F(Suspects, ThereAreNoneWhenAProcessIsKilledOnPurposeOrTheCulpritIsKnown) {
  die(1, {{3, on_cpu}, {4, suspended}}, true);
  attach(2);
  EXPECT_EQ(broker->queue().suspects(), 0U);
  EXPECT_EQ(indexes(2).size(), 10U);
  die(2, {{3, v1::Started::CULPRIT}, {4, on_cpu}});
  attach(3);
  EXPECT_EQ(broker->queue().suspects(), 0U);
  EXPECT_EQ(indexes(3).size(), 9U);
}

TEST_F(Suspects, OneWhoseHandlerHadNotStartedIsNotChargedForADeath) {
  die(1, {{3, on_cpu}});
  attach(2);
  die(2, {{5, on_cpu}});  // 3 was there, and waited for a slot
  EXPECT_EQ(suspicion(3), v1::WAS_ON_CPU);
  EXPECT_EQ(suspicion(5), v1::WAS_ON_CPU);
  EXPECT_EQ(broker->queue().retried(), 0U);
}

TEST_F(Suspects, OneThatOnlyWaitedWhenItsProcessDiedIsTriedAloneBeforeItIsCharged) {
  die(1, {{3, on_cpu}});
  attach(2);
  die(2, {{0, suspended}, {3, suspended}});  // somebody's kill -9, perhaps
  EXPECT_EQ(suspicion(3), v1::ALONE);
  EXPECT_EQ(broker->queue().retried(), 0U);
  EXPECT_EQ(broker->queue().suspects(), 0U);  // nobody has looked
  attach(3);
  EXPECT_THAT(indexes(3), ElementsAre(3));
}

}  // namespace
}  // namespace weir::broker::core::testing
