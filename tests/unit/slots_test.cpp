#include "weir/worker/slots.hpp"

#include <gmock/gmock.h>

#include <boost/asio/co_spawn.hpp>
#include <list>

#include "slots_rig.hpp"
#include "weir/handler.hpp"

namespace weir::worker {
namespace {

using namespace std::chrono_literals;
using test::batch_of;
using test::Gates;
using test::many;
using test::Rig;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

task<> nothing(Context&, std::string_view) { co_return; }

TEST(Slots, RunHandlersThatNeverSuspendBackToBackAndSettleThemInOneFrame) {
  Rig rig(300);
  rig.on(nothing);
  rig.slots().set_turn_time(1h);  // whatever a slow machine takes

  rig.deliver(batch_of(many(200, "x")));
  rig.turn();

  EXPECT_THAT(rig.session.tickets(Outcome::ack), SizeIs(200));
  EXPECT_THAT(rig.session.frames, ElementsAre(200));
}

TEST(Slots, ATurnIsBounded) {
  Rig rig(1000);
  rig.on(nothing);
  rig.deliver(batch_of(many(1000, "x")));

  rig.run_until_told(1000);

  EXPECT_GE(rig.session.frames.size(), 4U);
  for (const std::size_t each : rig.session.frames) EXPECT_LE(each, 2 * Slots::turn_messages_most);
}

TEST(Slots, ASlowHandlerThatNeverSuspendsEndsTheTurn) {
  Rig rig(8);
  rig.on([](Context&, std::string_view) -> task<> {
    const auto end = std::chrono::steady_clock::now() + 3ms;
    while (std::chrono::steady_clock::now() < end) {
    }
    co_return;
  });

  rig.deliver(batch_of(many(8, "x")));
  rig.run_until_told(8);

  EXPECT_GE(rig.session.frames.size(), 4U);
}

TEST(Slots, AtMostConcurrencyHandlersRun) {
  Rig rig(8, 3);
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); });

  rig.deliver(batch_of(many(8, "x")));
  rig.turn();
  EXPECT_EQ(gates.waiting(), 3U);
  EXPECT_EQ(rig.slots().running(), 3U);

  for (int i = 0; i < 8; ++i) {
    gates.open_first();
    rig.turn();
    EXPECT_LE(gates.waiting(), 3U);
  }
  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(Slots, WhatOneHandlerDoesToItsCancellationDoesNotReachTheNext) {
  Rig rig(2, 1);
  std::vector<bool> throws;
  rig.on([&throws](Context&, std::string_view) -> task<> {
    throws.push_back(co_await asio::this_coro::throw_if_cancelled());
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::post(asio::use_awaitable);
  });

  rig.deliver(batch_of(many(2, "x")));
  rig.run_until_told(2);

  EXPECT_THAT(throws, ElementsAre(true, true));
}

TEST(Deadlines, AHandlerThatOverrunsIsCancelledAndRetried) {
  Rig rig;
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); }, {.timeout = 20ms});

  rig.deliver(batch_of({"x"}));
  rig.run_until_told(1);

  EXPECT_EQ(rig.session.told[0].outcome, Outcome::retry);
  EXPECT_EQ(rig.session.told[0].error, "timed out after 20ms");
  EXPECT_EQ(gates.waiting(), 0U);
}

TEST(Deadlines, AHandlerThatIgnoresItsCancellationIsNamed) {
  std::string logged;
  log::copy_to([](void* into, std::string_view line) { static_cast<std::string*>(into)->append(line) += '\n'; },
               &logged);
  Rig rig;
  Gates gates;
  const auto ignore = [&gates](Context&, std::string_view) -> task<> {
    try {
      co_await gates.wait();
    } catch (const std::exception&) {
    }
    co_await asio::this_coro::reset_cancellation_state();
    co_await sleep(100ms);
  };
  rig.on(ignore, {.timeout = 20ms});

  rig.deliver(batch_of({"x"}));
  rig.run_until_told(1);
  log::copy_to(nullptr, nullptr);

  EXPECT_EQ(rig.session.told[0].outcome, Outcome::ack);
  EXPECT_THAT(logged, testing::ContainsRegex("handler_ignores_its_cancellation queue=orders message=.* attempt=1"));
}

TEST(Deadlines, ATimeoutHitsNobodyElse) {
  Rig rig;
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); }, {.timeout = 5ms}, "short");
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); }, {.timeout = 1h}, "long");

  rig.deliver(batch_of({"x"}, 0, "long"));
  rig.deliver(batch_of({"x"}, 1, "short"));
  rig.run_until_told(1);
  EXPECT_EQ(rig.session.told[0].ticket, 1U);
  EXPECT_EQ(gates.waiting(), 1U);
  gates.open_first();
  rig.turn();

  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(0));
}

TEST(Deadlines, ATimeoutThatIsForEverIsNotOverAtOnce) {
  Rig rig;
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); }, {.timeout = Duration::max()});

  rig.deliver(batch_of({"x"}));
  rig.turn();
  ASSERT_EQ(gates.waiting(), 1U);
  gates.open_first();
  rig.run_until_told(1);

  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(0));
}

TEST(Deadlines, ASlotThatTimedOutServesTheNext) {
  Rig rig(8, 1);
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); }, {.timeout = 5ms}, "slow");
  rig.on(
      [](Context&, std::string_view) -> task<> {
        co_await asio::post(asio::use_awaitable);
        co_await asio::post(asio::use_awaitable);
      },
      {}, "quick");

  rig.deliver(batch_of({"x"}, 0, "slow"));
  rig.deliver(batch_of({"x", "y"}, 1, "quick"));
  rig.run_until_told(3);

  EXPECT_THAT(rig.session.tickets(Outcome::retry), ElementsAre(0));
  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(1, 2));
}

TEST(Deadlines, WhatFinishesAllTheSameStaysFinished) {
  Rig rig;
  Gates gates;
  rig.on(
      [&gates](Context&, std::string_view) -> task<> {
        try {
          co_await gates.wait();
        } catch (const boost::system::system_error&) {
        }
      },
      {.timeout = 5ms});

  rig.deliver(batch_of({"x"}));
  rig.run_until_told(1);

  EXPECT_EQ(rig.session.told[0].outcome, Outcome::ack);
}

TEST(LostLeases, CancelTheHandlerAndDropItsOutcome) {
  Rig rig(2);
  Gates gates;
  std::string seen;
  rig.on([&](Context& ctx, std::string_view payload) -> task<> {
    try {
      co_await gates.wait();
    } catch (...) {
      // What it was given is still there.
      seen = std::string(payload) + "|" + std::string(ctx.payload()) + "|" + ctx.id();
      throw;
    }
  });
  rig.deliver(batch_of({"first", "second"}));
  rig.turn();
  ASSERT_EQ(gates.waiting(), 2U);

  engine::Batch again = batch_of({"third"}, 0);
  again.lost = {0};
  rig.deliver(std::move(again));
  rig.turn();

  EXPECT_EQ(seen, "first|first|orders/1.0");
  EXPECT_THAT(rig.session.told, IsEmpty());
  ASSERT_EQ(gates.waiting(), 2U);
  gates.open_first();
  gates.open_first();
  rig.turn();
  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(1, 0));
}

TEST(Recalled, WhatHasNotStartedGoesBackTheNewestFirst) {
  Rig rig(8, 2);
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); });
  rig.deliver(batch_of(many(6, "x")));
  rig.turn();
  engine::Batch recall;
  recall.recalls = {{0, 3}};

  rig.deliver(std::move(recall));
  rig.turn();
  EXPECT_THAT(rig.session.tickets(Outcome::release), ElementsAre(5, 4, 3));
  recall = {};
  recall.recalls = {{0, 3}, {1, 3}};
  rig.deliver(std::move(recall));
  rig.turn();

  EXPECT_THAT(rig.session.tickets(Outcome::release), ElementsAre(5, 4, 3, 2));
  EXPECT_EQ(gates.waiting(), 2U);  // what has started goes on
}

TEST(LostLeases, WhatWaitsNeverStarts) {
  Rig rig(4, 1);
  Gates gates;
  std::vector<std::string> started;
  rig.on([&](Context&, std::string_view payload) -> task<> {
    started.emplace_back(payload);
    co_await gates.wait();
  });
  rig.deliver(batch_of({"a", "b", "c"}));
  rig.turn();

  engine::Batch lost;
  lost.lost = {1};
  rig.deliver(std::move(lost));
  rig.turn();
  while (gates.waiting() > 0) {
    gates.open_first();
    rig.turn();
  }

  EXPECT_THAT(started, ElementsAre("a", "c"));
  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(0, 2));
}

TEST(Unconfirmed, AtTheirBoundNoFurtherHandlerStarts) {
  Rig rig;
  std::size_t started = 0;
  rig.on([&started](Context&, std::string_view) -> task<> {
    ++started;
    co_return;
  });
  rig.session.unconfirmed_now.settlements = Settler::unconfirmed_most - 2;

  rig.deliver(batch_of(many(5, "x")));
  rig.turn();
  EXPECT_EQ(started, 2U);
  rig.turn();
  EXPECT_EQ(started, 2U);

  rig.session.unconfirmed_now.settlements = 0;
  rig.run_until_told(5);
  EXPECT_EQ(started, 5U);
}

TEST(Unconfirmed, OutputsHaveABoundOfTheirOwn) {
  Rig rig;
  rig.settings.window.bytes = Bytes{1000};
  std::size_t started = 0;
  rig.on([&started](Context& ctx, std::string_view) -> task<> {
    ++started;
    ctx.publish_raw("next", "text", std::string(2000, 'x'));  // larger than the bound: let through alone
    co_return;
  });

  rig.deliver(batch_of({"a", "b"}));
  rig.turn();
  EXPECT_EQ(started, 1U);
  rig.turn();
  EXPECT_EQ(started, 1U);

  rig.session.unconfirmed_now.output_bytes = 0;
  rig.run_until_told(2);
  EXPECT_EQ(started, 2U);
  EXPECT_THAT(rig.session.told[0].outputs, ElementsAre("next"));
}

TEST(Drain, ReleasesWhatHasNotStartedAndWaitsForWhatHas) {
  Rig rig(8, 2);
  Gates gates;
  rig.on([&gates](Context&, std::string_view) { return gates.wait(); });
  rig.deliver(batch_of(many(4, "x")));
  rig.turn();
  bool none = false;

  rig.slots().release_unstarted();
  asio::co_spawn(rig.loop(), rig.slots().none_running(), [&](const std::exception_ptr&) { none = true; });
  rig.turn();
  EXPECT_THAT(rig.session.tickets(Outcome::release), ElementsAre(2, 3));
  EXPECT_FALSE(none);
  gates.open_first();
  gates.open_first();
  rig.turn();

  EXPECT_TRUE(none);
  EXPECT_THAT(rig.session.tickets(Outcome::ack), ElementsAre(0, 1));
}

TEST(Drain, WhatIsCancelledIsReleasedWhateverItThrows) {
  Rig rig;
  Gates gates;
  rig.on([&gates](Context&, std::string_view) -> task<> {
    try {
      co_await gates.wait();
    } catch (...) {
      throw Reject("cancelled, so I say it will never work");
    }
  });
  rig.deliver(batch_of({"x"}));
  rig.turn();

  rig.slots().release_unstarted();
  rig.slots().cancel();
  rig.turn();

  EXPECT_THAT(rig.session.told, ElementsAre(test::Told{0, Outcome::release, {}, {}, {}}));
}

TEST(Drain, WhatComesAfterwardsIsReleased) {
  Rig rig;
  rig.on(nothing);
  rig.slots().release_unstarted();

  rig.deliver(batch_of({"x"}));
  rig.turn();

  EXPECT_THAT(rig.session.tickets(Outcome::release), ElementsAre(0));
}

TEST(StoppedProcess, GivesBackWhatItHoldsBeforeAnythingRunsOn) {
  bool was_stopped = false;  // asked until the rig is gone
  Rig rig(8, 2);
  Gates gates;
  std::size_t finished = 0;
  rig.on([&](Context&, std::string_view) -> task<> {
    co_await gates.wait();
    co_await asio::post(asio::use_awaitable);
    ++finished;
  });
  rig.slots().set_frozen([&] { return std::exchange(was_stopped, false); });
  rig.deliver(batch_of(many(3, "x")));
  rig.turn();

  was_stopped = true;
  gates.open_first();
  rig.turn();

  EXPECT_EQ(finished, 0U);
  EXPECT_THAT(rig.session.tickets(Outcome::release), SizeIs(3));
}

TEST(OnTheCpu, IsTheSlotWhoseCodeRuns) {
  Rig rig;
  Gates gates;
  std::vector<std::string> seen;
  const auto look = [&](std::string_view where) {
    const auto running = rig.slots().on_cpu().read();
    seen.push_back(std::string(where) + ":" + (running ? std::to_string(running->what.index) : "none"));
  };
  rig.on([&](Context&, std::string_view payload) -> task<> {
    const std::string name(payload);
    look(name + "1");
    co_await gates.wait();
    look(name + "2");
    co_await weir::timeout(1s, weir::sleep(1ms));
    look(name + "3");
  });

  rig.deliver(batch_of({"a", "b"}));
  rig.turn();
  look("loop");
  gates.open_first();
  gates.open_first();
  rig.run_until_told(2);

  EXPECT_THAT(seen, testing::UnorderedElementsAre("a1:0", "b1:1", "loop:none", "a2:0", "b2:1", "a3:0", "b3:1"));
}

TEST(Dispatcher, WhatItDoesNotKnowGoesBackForLater) {
  Rig rig;
  rig.on(nothing);

  rig.deliver(batch_of({"x"}, 0, "stranger"));
  rig.turn();

  ASSERT_THAT(rig.session.told, SizeIs(1));
  EXPECT_EQ(rig.session.told[0].outcome, Outcome::defer);
  EXPECT_EQ(rig.session.told[0].delay, Duration(10s));
}

TEST(Dispatcher, ABrokenBodyIsADeadLetter) {
  Rig rig;
  rig.on(nothing);
  auto batch = batch_of({"x"});
  batch.deliveries[0].body = batch.deliveries[0].body.substr(0, 2);

  rig.deliver(std::move(batch));
  rig.turn();

  ASSERT_THAT(rig.session.told, SizeIs(1));
  EXPECT_EQ(rig.session.told[0].outcome, Outcome::reject);
  EXPECT_THAT(rig.session.told[0].error, HasSubstr("is not a weir.v1.Body"));
}

TEST(Context, WhatAHandlerLooksAtStaysWhereItIs) {
  Rig rig(64);
  Gates gates;
  std::vector<std::string> seen;
  rig.on([&](Context& ctx, std::string_view payload) -> task<> {
    const std::string_view again = ctx.payload();
    if (payload == "held") {
      co_await gates.wait();
      seen.push_back(std::string(payload) + "|" + std::string(again) + "|" + std::string(ctx.payload()));
    }
  });
  test::Frame frame = test::frame_of(many(20, std::string(100, 'x')));
  test::Frame held = test::frame_of({"held", std::string(100, 'y'), std::string(100, 'z')}, 20);

  rig.deliver(std::move(held.batch));
  rig.deliver(std::move(frame.batch));
  rig.turn();
  // The frame it came in was let go, and it was copied out.
  EXPECT_TRUE(held.alive.expired());
  gates.open_first();
  rig.turn();

  EXPECT_THAT(seen, ElementsAre("held|held|held"));
}

}  // namespace
}  // namespace weir::worker
