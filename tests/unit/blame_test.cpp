#include "weir/worker/recorder/blame.hpp"

#include <gmock/gmock.h>
#include <signal.h>

namespace weir::worker::recorder {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

Delivery delivery(std::uint32_t slot) {
  return {.slot = slot,
          .slot_state = 7,
          .queue = "orders",
          .segment = 4,
          .index = slot,
          .attempt = 1,
          .started = 1s,
          .memory = 1000};
}

/// Of slots 0 to 3; their handlers have started.
Record four_started() {
  Record record;
  for (std::uint32_t slot = 0; slot < 4; ++slot) record.started.push_back(delivery(slot));
  record.memory = 5000;
  return record;
}

Marked mark_by(std::int32_t signal, std::optional<std::uint32_t> slot) {
  return {.kind = MarkKind::signal,
          .signal = signal,
          .code = SEGV_MAPERR,
          .at = 3s,
          .slot = slot,
          .slot_state = 7,
          .frames = {0x10, 0x20}};
}

std::vector<std::uint32_t> of(const Verdict& verdict, Part part) {
  std::vector<std::uint32_t> slots;
  for (const Blamed& each : verdict.started) {
    if (each.part == part) slots.push_back(each.delivery.slot);
  }
  return slots;
}

constexpr HowItDied killed{.signal = SIGKILL, .at = 4s};

TEST(Blame, ASignalsCulpritIsTheDeliveryWhoseThreadTookItAndNobodyElseIsNamed) {
  Record record = four_started();
  record.on_cpu = {1, 2};
  record.marks = {mark_by(SIGSEGV, 2)};

  const Verdict verdict = blame(record, {.signal = SIGSEGV, .at = 4s});

  ASSERT_THAT(verdict.started, SizeIs(1));
  EXPECT_THAT(of(verdict, Part::culprit), ElementsAre(2));
  EXPECT_EQ(verdict.started[0].error, "killed its process: SIGSEGV at 0x0");
  EXPECT_EQ(verdict.started[0].duration, Duration(2s));
  EXPECT_EQ(verdict.started[0].memory_grown, 4000);
  EXPECT_THAT(verdict.started[0].frames, ElementsAre(0x10, 0x20));
}

TEST(Blame, TwoThreadsThatCrashAtOnceAreTwoCulprits) {
  Record record = four_started();
  record.marks = {mark_by(SIGABRT, 3), mark_by(SIGSEGV, 0)};
  EXPECT_THAT(of(blame(record, {.signal = SIGABRT}), Part::culprit), ElementsAre(3, 0));
}

TEST(Blame, ASignalThatAnotherProcessSentSaysNothing) {
  Record record = four_started();
  record.on_cpu = {1};
  Marked mark = mark_by(SIGSEGV, 1);
  mark.code = SI_USER;
  mark.sender = 4711;
  record.marks = {mark};

  const Verdict verdict = blame(record, {.signal = SIGSEGV});

  EXPECT_THAT(of(verdict, Part::culprit), IsEmpty());
  EXPECT_THAT(of(verdict, Part::on_cpu), ElementsAre(1));
  EXPECT_THAT(of(verdict, Part::suspended), ElementsAre(0, 2, 3));
}

TEST(Blame, OfASignalInAThreadThatRanNoDeliveryNobodyIsMoreSuspectForBeingOnACpu) {
  Record record = four_started();
  record.on_cpu = {1};
  record.marks = {mark_by(SIGSEGV, std::nullopt)};
  const Verdict verdict = blame(record, {.signal = SIGSEGV});
  EXPECT_THAT(of(verdict, Part::suspended), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(verdict.frames, ElementsAre(0x10, 0x20));
}

TEST(Blame, NorOfAnExitThatOneCalledFromACallback) {
  Record record = four_started();
  record.on_cpu = {1};
  Marked mark = mark_by(0, std::nullopt);
  mark.kind = MarkKind::exited;
  record.marks = {mark};
  EXPECT_THAT(of(blame(record, {.exit_code = 3}), Part::suspended), ElementsAre(0, 1, 2, 3));
}

TEST(Blame, WhatHadEndedMayHaveLeftTheCauseBehind) {
  Record record = four_started();
  record.ended = {{"orders", 9, 5}, {"emails", 2, 0}};

  const Verdict verdict = blame(record, killed);

  ASSERT_THAT(verdict.started, SizeIs(6));
  EXPECT_EQ(verdict.started[0].part, Part::ended);
  EXPECT_EQ(verdict.started[0].delivery.segment, 9U);
  EXPECT_EQ(verdict.started[1].delivery.queue, "emails");
  record.marks = {mark_by(SIGSEGV, 2)};
  EXPECT_THAT(blame(record, {.signal = SIGSEGV}).started, SizeIs(1));  // but not where the culprit is known
}

TEST(Blame, AMarkOfADeliveryThatHasEndedSinceSaysNothing) {
  Record record = four_started();
  record.ending = true;
  Marked mark = mark_by(0, 1);
  mark.kind = MarkKind::stuck;
  mark.slot_state = 5;
  record.marks = {mark};
  EXPECT_THAT(blame(record, {.exit_code = 1}).started, IsEmpty());
}

TEST(Blame, AStuckDeliveryIsTheCulpritThoughWeirEndedItsProcess) {
  Record record = four_started();
  record.ending = true;
  Marked mark = mark_by(0, 1);
  mark.kind = MarkKind::stuck;
  mark.code = 0;
  record.marks = {mark};

  const Verdict verdict = blame(record, {.exit_code = 1});

  ASSERT_THAT(of(verdict, Part::culprit), ElementsAre(1));
  EXPECT_THAT(verdict.started[0].error, StartsWith("stuck: on the CPU past its timeout, "));
  record.marks[0].code = 1;
  EXPECT_THAT(blame(record, {.exit_code = 1}).started[0].error,
              StartsWith("stuck: waiting in a call that blocks its thread past its timeout, "));
}

TEST(Blame, NobodyIsSuspectedWhereWeirEndedTheProcess) {
  Record record = four_started();
  record.on_cpu = {1};
  record.ending = true;
  const Verdict verdict = blame(record, {.exit_code = 1});
  EXPECT_THAT(verdict.started, IsEmpty());
  EXPECT_TRUE(verdict.on_purpose);
}

TEST(Blame, NobodyIsSuspectedWhereTheParentKilledIt) {
  Record record = four_started();
  record.on_cpu = {1};
  const Verdict verdict = blame(record, {.signal = SIGKILL, .by_its_parent = true});
  EXPECT_THAT(verdict.started, IsEmpty());
  EXPECT_TRUE(verdict.on_purpose);
}

TEST(Blame, AnExitsCulpritIsTheOnlyOneOnTheCpu) {
  Record record = four_started();
  record.on_cpu = {3};
  const Verdict verdict = blame(record, {.exit_code = 3, .at = 4s});
  ASSERT_THAT(of(verdict, Part::culprit), ElementsAre(3));
  EXPECT_THAT(verdict.started, SizeIs(1));
  EXPECT_EQ(verdict.started[0].error, "ended its process: exit code 3");
}

TEST(Blame, WhoCalledExitIsTheCulpritThoughOthersWereOnTheCpu) {
  Record record = four_started();
  record.on_cpu = {3, 0};
  Marked mark = mark_by(0, 0);
  mark.kind = MarkKind::exited;
  record.marks = {mark};
  const Verdict verdict = blame(record, {.exit_code = 3});
  ASSERT_THAT(of(verdict, Part::culprit), ElementsAre(0));
  EXPECT_EQ(verdict.started[0].error, "ended its process: exit code 3");
}

TEST(Blame, IfSeveralWereOnTheCpuAtAnExitTheyAreSuspects) {
  Record record = four_started();
  record.on_cpu = {3, 0};
  const Verdict verdict = blame(record, {.exit_code = 0});
  EXPECT_THAT(of(verdict, Part::culprit), IsEmpty());
  EXPECT_THAT(of(verdict, Part::on_cpu), ElementsAre(0, 3));
  EXPECT_THAT(of(verdict, Part::suspended), ElementsAre(1, 2));
}

TEST(Blame, ASigkillTellsNothingButWhoWasOnTheCpu) {
  Record record = four_started();
  record.on_cpu = {2};
  const Verdict verdict = blame(record, killed);
  EXPECT_THAT(of(verdict, Part::culprit), IsEmpty());
  EXPECT_THAT(of(verdict, Part::on_cpu), ElementsAre(2));
  EXPECT_THAT(of(verdict, Part::suspended), ElementsAre(0, 1, 3));
  EXPECT_FALSE(verdict.on_purpose);
}

}  // namespace
}  // namespace weir::worker::recorder
