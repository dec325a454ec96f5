// A burst: what is published together goes to all sessions that have room, the emptiest first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Le;

constexpr Connection publisher = 1;

struct Sessions : Broker {
  /// One for each window, all of one queue; the messages are of 10 bytes.
  explicit Sessions(const std::vector<std::uint64_t>& windows, const QueuePolicy& policy = {})
      : Broker({{"orders", policy}}) {
    open_publisher(publisher);
    join(1);  // its lane's delivery mark is on disk before what is looked at
    put(1);
    commit();
    settle(publisher + 1, deliveries(publisher + 1).back().lease(), 1, v1::ACK);
    commit();
    v1::Frame goodbye;
    goodbye.mutable_goodbye();
    say(publisher + 1, std::move(goodbye));
    first = sessions + 1;
    for (const std::uint64_t window : windows) join(window);
  }
  void join(std::uint64_t window, const std::string& type = {}) {
    ++sessions;
    attach(publisher + sessions, token(static_cast<unsigned char>(sessions)), window, {}, {}, "orders", type);
    commit();
  }
  void put(int count, const std::string& type = "T") {
    publish(publisher, next, count, 0, type);
    next += static_cast<std::uint64_t>(count);
  }
  std::vector<std::uint64_t> delivered_to_each() {
    std::vector<std::uint64_t> all;
    for (Connection each = first; each <= sessions; ++each) all.push_back(delivered(publisher + each));
    return all;
  }
  Connection sessions = 0, first = 0;
  std::uint64_t next = 1;
};

TEST(Bursts, TwelveOfOneFrameAreSharedBySixIdleSessions) {
  Sessions broker(std::vector<std::uint64_t>(6, 512));

  broker.put(12);

  EXPECT_THAT(broker.delivered_to_each(), Each(2U));
}

TEST(Bursts, TwelveSinglePublishesAreSharedBySixIdleSessions) {
  Sessions broker(std::vector<std::uint64_t>(6, 512));

  for (int i = 0; i < 12; ++i) broker.put(1);

  EXPECT_THAT(broker.delivered_to_each(), Each(2U));
}

TEST(Bursts, TwelveInACommitThatIsWrittenFirstAreSharedToo) {
  Sessions broker(std::vector<std::uint64_t>(6, 512), written_first());

  for (int i = 0; i < 6; ++i) broker.put(2);
  broker.commit();

  EXPECT_THAT(broker.delivered_to_each(), Each(Le(3U)));
}

TEST(Bursts, AThousandAreSharedByThreeWithWindowsOf512) {
  Sessions broker({512, 512, 512});

  for (const int count : {256, 256, 256, 232}) broker.put(count);

  for (const std::uint64_t each : broker.delivered_to_each()) {
    EXPECT_GE(each, 332U);
    EXPECT_LE(each, 336U);
  }
}

TEST(Bursts, WhoHasNoneIsGivenBeforeWhoHasSome) {
  Sessions broker({512});
  broker.put(100);
  ASSERT_THAT(broker.delivered_to_each(), ElementsAre(100U));
  broker.join(512);
  broker.join(512);

  broker.put(60);

  EXPECT_THAT(broker.delivered_to_each(), ElementsAre(100U, 30U, 30U));
}

TEST(Bursts, ASmallWindowLeavesTheRestToTheOthers) {
  Sessions broker({2, 512, 512});

  broker.put(200);

  EXPECT_THAT(broker.delivered_to_each(), ElementsAre(2U, 99U, 99U));
}

TEST(Bursts, WhoKnowsTheTypeTakesAllThoughAnotherHasRoom) {
  Sessions broker({512});
  broker.join(512, "Other");

  broker.put(200);

  EXPECT_THAT(broker.delivered_to_each(), ElementsAre(200U, 0U));
}

TEST(Bursts, ABacklogFillsAllWindows) {
  Sessions broker({});
  for (int i = 0; i < 10; ++i) broker.put(256);
  broker.commit();

  broker.join(512);
  broker.join(512);

  EXPECT_THAT(broker.delivered_to_each(), Each(512U));
}

/// Two with 10 each, of which the second has handled its own.
struct OneIdles : Sessions {
  OneIdles() : Sessions({512, 512}) {
    put(20);
    handle_all(second);
  }
  void handle_all(Connection who) {
    for (const auto& each : deliveries(who)) {
      settle(who, each.lease(), static_cast<std::uint32_t>(each.index().lengths_size()), v1::ACK);
    }
  }
  [[nodiscard]] std::vector<v1::Recall> recalls(Connection to) {
    std::vector<v1::Recall> all;
    for (const auto& frame : inbox[to]) {
      if (frame.has_recall()) all.push_back(frame.recall());
    }
    return all;
  }
  const Connection busy = publisher + first, second = busy + 1;
};

TEST(Recalls, WhatIsAboveAnEvenShareIsAskedBackForWhoIdles) {
  OneIdles broker;
  ASSERT_THAT(broker.delivered_to_each(), ElementsAre(10U, 10U));

  broker.pass(100ms);
  EXPECT_TRUE(broker.recalls(broker.busy).empty());  // it may have been idle for a moment only
  broker.pass(100ms);

  ASSERT_EQ(broker.recalls(broker.busy).size(), 1U);
  EXPECT_EQ(broker.recalls(broker.busy)[0].queue(), 1U);
  EXPECT_EQ(broker.recalls(broker.busy)[0].messages(), 5U);
  EXPECT_TRUE(broker.recalls(broker.second).empty());
}

TEST(Recalls, WhatIsGivenBackGoesToWhoIdlesAndIsNoAttempt) {
  OneIdles broker;
  broker.pass(100ms);
  broker.pass(100ms);

  broker.settle(broker.busy, broker.deliveries(broker.busy).back().lease() + 5, 5, v1::RELEASE);

  EXPECT_THAT(broker.delivered_to_each(), ElementsAre(10U, 15U));
  EXPECT_EQ(broker.deliveries(broker.second).back().attempt(), 1U);
  broker.commit();
  EXPECT_EQ(broker.queue().retried(), 0U);
}

TEST(Recalls, WhoDoesNotAnswerIsAskedAgainAfterASecond) {
  OneIdles broker;
  for (int i = 0; i < 11; ++i) broker.pass(100ms);
  EXPECT_EQ(broker.recalls(broker.busy).size(), 1U);

  broker.pass(100ms);

  EXPECT_EQ(broker.recalls(broker.busy).size(), 2U);
}

TEST(Recalls, NobodyIsAskedWhileSomethingIsReadyOrTheOtherHasNoRoom) {
  Sessions broker({512});
  broker.put(20);
  broker.join(0);

  for (int i = 0; i < 5; ++i) broker.pass(100ms);

  for (const auto& frame : broker.inbox[publisher + broker.first]) EXPECT_FALSE(frame.has_recall());
}

TEST(Recalls, AnIdleBrokerDoesNotLook) {
  OneIdles broker;
  broker.handle_all(broker.busy);

  broker.pass(100ms);

  EXPECT_GT(broker.core->next_tick() - broker.now.instant, 200ms);
}

}  // namespace
}  // namespace weir::broker::core::testing
