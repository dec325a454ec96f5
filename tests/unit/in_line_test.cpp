// A handler in line for a semaphore: its clock stands still, and the line has a bound of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "slots_rig.hpp"
#include "weir/async/semaphore.hpp"
#include "weir/async/sleep.hpp"

namespace weir {
namespace {

using test::Rig;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// Handlers that hold the one permit for 30 ms, each for its own timeout.
task<> turn_of_30_ms(std::shared_ptr<Semaphore> gate) { co_await limit(*gate, sleep(30ms)); }

TEST(InLine, TimeInLineIsNotTheHandlersTime) {
  Rig rig(8);
  const auto gate = std::make_shared<Semaphore>(1, "gate");
  const auto handler = [gate](Context&, std::string_view) { return turn_of_30_ms(gate); };
  rig.on(handler, {.timeout = 130ms});
  rig.deliver(test::batch_of({"1", "2", "3", "4", "5"}));  // the last waits 120 ms in line, and ends after 150

  rig.run_until_told(5);

  for (const auto& each : rig.session.told) EXPECT_EQ(each.outcome, Outcome::ack);
}

TEST(InLine, WhoWaitsAsLongAsItsTimeoutIsDeferredByItsQueue) {
  Rig rig(8);
  const auto gate = std::make_shared<Semaphore>(1, "gate");
  const auto handler = [gate](Context&, std::string_view) { return turn_of_30_ms(gate); };
  rig.on(handler, {.timeout = 75ms});
  rig.deliver(test::batch_of({"1", "2", "3", "4", "5"}));

  rig.run_until_told(5);

  std::size_t acked = 0;
  for (const auto& each : rig.session.told) {
    if (each.outcome == Outcome::ack) {
      ++acked;
      continue;
    }
    EXPECT_EQ(each.outcome, Outcome::defer);
    EXPECT_FALSE(each.delay);  // the queue's first backoff
    EXPECT_THAT(each.error, HasSubstr("in line for the limit 'gate'"));
  }
  EXPECT_GE(acked, 2U);
  EXPECT_LE(acked, 3U);
  EXPECT_EQ(gate->waiting(), 0U);
}

TEST(InLine, TheTimeoutGoesOnOnceTheTurnHasCome) {
  Rig rig(8);
  const auto gate = std::make_shared<Semaphore>(1, "gate");
  test::Gates never;
  rig.on([gate](Context&, std::string_view) { return turn_of_30_ms(gate); }, {.timeout = 1s}, "short");
  const auto slow = [gate, &never](Context&, std::string_view) { return limit(*gate, never.wait()); };
  rig.on(slow, {.timeout = 50ms}, "slow");
  rig.deliver(test::batch_of({"x"}, 0, "short"));
  rig.deliver(test::batch_of({"x"}, 1, "slow"));
  const auto begin = std::chrono::steady_clock::now();

  rig.run_until_told(2);

  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(rig.session.told.back().outcome, Outcome::retry);
  EXPECT_THAT(rig.session.told.back().error, HasSubstr("timed out after 50ms"));
  EXPECT_GE(took, 80ms);
  EXPECT_EQ(gate->available(), 1U);
}

TEST(InLine, InABranchItDefersTooAndTheOtherBranchIsCancelled) {
  Rig rig(8);
  const auto gate = std::make_shared<Semaphore>(1, "gate");
  test::Gates never;
  rig.on([gate, &never](Context&, std::string_view) { return limit(*gate, never.wait()); }, {.timeout = 1h}, "holds");
  const auto branches = [](std::shared_ptr<Semaphore> line, test::Gates& other) -> task<> {
    co_await (limit(*line, sleep(1ms)) && other.wait());
  };
  rig.on([gate, &never, branches](Context&, std::string_view) { return branches(gate, never); }, {.timeout = 30ms},
         "branches");
  rig.deliver(test::batch_of({"x"}, 0, "holds"));
  rig.deliver(test::batch_of({"x"}, 1, "branches"));

  rig.run_until_told(1);

  EXPECT_EQ(rig.session.told[0].outcome, Outcome::defer);
  EXPECT_THAT(rig.session.told[0].error, HasSubstr("'gate'"));
  EXPECT_EQ(never.waiting(), 1U);
  never.open_first();
  rig.run_until_told(2);
}

TEST(InLine, AllLinesOfADeliveryHaveOneBound) {
  Rig rig(8);
  const auto first = std::make_shared<Semaphore>(1, "first");
  const auto second = std::make_shared<Semaphore>(1, "second");
  test::Gates gates;
  rig.on([first, &gates](Context&, std::string_view) { return limit(*first, gates.wait()); }, {.timeout = 1h}, "first");
  rig.on([second, &gates](Context&, std::string_view) { return limit(*second, gates.wait()); }, {.timeout = 1h},
         "second");
  const auto both = [](std::shared_ptr<Semaphore> one, std::shared_ptr<Semaphore> two) -> task<> {
    co_await limit(*one, sleep(1ms));
    co_await limit(*two, sleep(1ms));
  };
  rig.on([first, second, both](Context&, std::string_view) { return both(first, second); }, {.timeout = 100ms}, "both");
  engine::Ticket ticket = 0;
  for (const char* type : {"first", "second", "both"}) rig.deliver(test::batch_of({"x"}, ticket++, type));
  rig.turn();
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < 60ms) rig.turn();
  gates.open_first();  // the first line ends after 60 ms

  rig.run_until_told(2);

  EXPECT_EQ(rig.session.told.back().outcome, Outcome::defer);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 150ms);
  EXPECT_THAT(rig.session.told.back().error, HasSubstr("'second'"));
  gates.open_first();
  rig.run_until_told(3);
}

}  // namespace
}  // namespace weir
