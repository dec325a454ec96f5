// What escapes a handler: what it spawned or posted throws on its shard's loop.
#include <gmock/gmock.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <stdexcept>
#include <vector>

#include "slots_rig.hpp"

namespace weir::worker {
namespace {

using namespace std::chrono_literals;
using test::batch_of;
using test::Gates;
using test::Rig;
using testing::ElementsAre;
using testing::SizeIs;

/// Waits for ever, and lets others have the loop.
task<> for_ever() {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::hours(1));
  co_await timer.async_wait(asio::use_awaitable);
}

TEST(Escapes, WhatAHandlerPostsAndThrowsThereFailsThatHandlerAndNoOther) {
  Rig rig;
  rig.on([&](Context&, std::string_view payload) -> task<> {
    if (payload == "bad") asio::post(rig.registry().executor(), [] { throw std::runtime_error("posted"); });
    co_await for_ever();
  });
  rig.deliver(batch_of({"good", "bad", "fine"}));
  rig.run_until_told(1);

  ASSERT_THAT(rig.session.told, SizeIs(1));
  EXPECT_EQ(rig.session.told[0].ticket, 1U);
  EXPECT_EQ(rig.session.told[0].outcome, Outcome::retry);
  EXPECT_EQ(rig.session.told[0].error, "an exception of it escaped on its loop: posted");
  EXPECT_EQ(rig.slots().running(), 2U);
  rig.slots().cancel();
  rig.run_until_told(3);
}

TEST(Escapes, AnExceptionOfADetachedCoroutineFailsTheHandlerThatSpawnedIt) {
  Rig rig;
  const auto throws = []() -> task<> {
    throw 42;
    co_return;
  };
  rig.on([&](Context&, std::string_view) -> task<> {
    const auto here = co_await asio::this_coro::executor;
    asio::co_spawn(here, throws(), [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
    co_await for_ever();
  });
  rig.deliver(batch_of({"one"}));
  rig.run_until_told(1);
  EXPECT_EQ(rig.session.told.at(0).error,
            "an exception of it escaped on its loop: threw int, which is no std::exception");
}

TEST(Escapes, WhatIsThrownThereEndsTheHandlerAsIfItHadThrownIt) {
  Rig rig;
  rig.on([&](Context&, std::string_view payload) -> task<> {
    asio::post(rig.registry().executor(), [what = std::string(payload)] {
      if (what == "reject") throw Reject("no items");
      throw Retry(7s, "busy");
    });
    co_await for_ever();
  });
  rig.deliver(batch_of({"reject", "retry"}));
  rig.run_until_told(2);

  ASSERT_THAT(rig.session.told, SizeIs(2));
  EXPECT_EQ(rig.session.told[0].outcome, Outcome::reject);
  EXPECT_EQ(rig.session.told[0].error, "an exception of it escaped on its loop: no items");
  EXPECT_EQ(rig.session.told[1].outcome, Outcome::retry);
  EXPECT_EQ(rig.session.told[1].delay, Duration(7s));
}

TEST(Escapes, OnceTheHandlerHasEndedWhatItPostedEndsNothing) {
  Rig rig(8, 1);
  int after = 0;
  rig.on([&](Context&, std::string_view payload) -> task<> {
    if (payload == "bad") {
      asio::post(rig.registry().executor(), [] { throw std::runtime_error("too late"); });
      asio::post(co_await asio::this_coro::executor, [] { throw std::runtime_error("this too"); });
      co_return;
    }
    co_await for_ever();
    ++after;
  });
  rig.deliver(batch_of({"bad", "good"}));
  rig.run_until_told(1);
  rig.turn();

  // In the slot that it had, another runs by now.
  ASSERT_THAT(rig.session.told, SizeIs(1));
  EXPECT_EQ(rig.session.told[0].outcome, Outcome::ack);
  EXPECT_EQ(rig.slots().running(), 1U);
  rig.slots().cancel();
  rig.run_until_told(2);
  EXPECT_EQ(rig.session.told[1].outcome, Outcome::release);
}

TEST(Escapes, WhatAHandlerPostedIsItsOwnOnTheCpuUntilItHasEnded) {
  Rig rig(8, 1);
  std::vector<std::optional<std::uint32_t>> seen;
  const auto look = [&] {
    const auto on_cpu = rig.slots().on_cpu().read();
    seen.push_back(on_cpu ? std::optional(on_cpu->what.index) : std::nullopt);
  };
  rig.on([&](Context&, std::string_view payload) -> task<> {
    asio::post(rig.registry().executor(), look);
    if (payload == "waits") co_await for_ever();
  });
  rig.deliver(batch_of({"ends", "waits"}));
  rig.run_until_told(1);
  rig.turn();
  EXPECT_THAT(seen, ElementsAre(std::nullopt, 1U));
  rig.slots().cancel();
  rig.run_until_told(2);
}

TEST(Escapes, AHandlerThatReturnsAllTheSameHasFailed) {
  Rig rig;
  Gates gates;
  rig.on([&](Context&, std::string_view) -> task<> {
    asio::post(rig.registry().executor(), [] { throw std::runtime_error("posted"); });
    try {
      co_await gates.wait();
    } catch (...) {
    }
  });
  rig.deliver(batch_of({"one"}));
  rig.run_until_told(1);
  EXPECT_EQ(rig.session.told.at(0).outcome, Outcome::retry);
}

}  // namespace
}  // namespace weir::worker
