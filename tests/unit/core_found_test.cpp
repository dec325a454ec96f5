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

}  // namespace
}  // namespace weir::broker::core::testing
