// `a() && b()` and `a() || b()`: how a handler ends whose branches do.
#include <gmock/gmock.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "shop/shop.pb.h"
#include "weir/handler.hpp"
#include "weir/testing.hpp"

namespace {

using namespace boost::asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using weir::Context;
using weir::task;
using weir::testing::Ran;

task<> for_ever() { co_await weir::sleep(1h); }
task<int> number(int value) {
  co_await weir::sleep(1ms);
  co_return value;
}

template <class What>
task<> throws(What what) {
  co_await weir::sleep(1ms);
  throw what;
}

/// Throws once it is cancelled.
template <class What>
task<> throws_at_last(What what) {
  try {
    co_await weir::sleep(1h);
  } catch (const boost::system::system_error&) {
    throw what;
  }
}

/// As the handler that awaits what `make` makes.
Ran run(const std::function<task<>()>& make) {
  const auto handler = [&make](Context&, const shop::OrderPlaced&) -> task<> { co_await make(); };
  return weir::testing::run(handler, shop::OrderPlaced());
}

TEST(Branches, ADecisionOfEitherIsTheHandlersThoughTheOtherIsCancelledForIt) {
  EXPECT_EQ(run([] { return throws(weir::Reject("no items")) && for_ever(); }), weir::rejected("no items"));
  EXPECT_EQ(run([] { return for_ever() && throws(weir::Reject("no items")); }), weir::rejected("no items"));
  EXPECT_EQ(run([] { return throws(weir::Retry(7s, "busy")) && for_ever(); }), weir::retried("busy", 7s));
  EXPECT_EQ(run([] { return for_ever() && throws(weir::Retry(7s, "busy")); }), weir::retried("busy", 7s));
  EXPECT_EQ(run([] { return for_ever() && throws(weir::Defer(1min)); }), weir::deferred(1min));
  EXPECT_EQ(run([] { return for_ever() && throws(weir::Throttled(1s)); }), weir::throttled(1s));
}

TEST(Branches, ARejectWinsAndThenARetryWhicheverCameFirst) {
  const weir::Reject reject("no items");
  const weir::Retry retry(7s, "busy");
  const weir::Defer defer(1min);

  EXPECT_EQ(run([&] { return throws(retry) && throws_at_last(reject); }), weir::rejected("no items"));
  EXPECT_EQ(run([&] { return throws_at_last(reject) && throws(retry); }), weir::rejected("no items"));
  EXPECT_EQ(run([&] { return throws(defer) && throws_at_last(retry); }), weir::retried("busy", 7s));
  EXPECT_EQ(run([&] { return throws(std::runtime_error("lost")) && throws_at_last(defer); }), weir::deferred(1min));
  EXPECT_EQ(run([&] { return throws(retry) && throws_at_last(weir::Retry(1s, "later")); }), weir::retried("busy", 7s));
}

TEST(Branches, TheReasonIsWhatFailedAndNotWhatWasCancelledForIt) {
  EXPECT_EQ(run([] { return for_ever() && throws(std::runtime_error("card declined")); }),
            weir::retried("card declined"));
  EXPECT_EQ(run([] { return throws(std::runtime_error("card declined")) && for_ever(); }),
            weir::retried("card declined"));
  EXPECT_EQ(run([] { return for_ever() && throws(42); }), weir::retried("threw int, which is no std::exception"));
}

TEST(Branches, MayBeManyAndGiveValues) {
  EXPECT_EQ(run([] { return for_ever() && for_ever() && throws(weir::Reject("third")); }), weir::rejected("third"));
  EXPECT_EQ(run([] { return throws(weir::Reject("first")) && for_ever() && for_ever(); }), weir::rejected("first"));
  std::tuple<int, int, int> got;
  const auto values = [&]() -> task<> { got = co_await (number(1) && number(2) && number(3)); };
  EXPECT_EQ(run(values), weir::acked());
  EXPECT_EQ(got, std::tuple(1, 2, 3));
  int one = 0;
  const auto beside_void = [&]() -> task<> { one = co_await (weir::sleep(1ms) && number(7)); };
  EXPECT_EQ(run(beside_void), weir::acked());
  EXPECT_EQ(one, 7);
  const auto void_beside = [&]() -> task<> { one = co_await (number(8) && weir::sleep(1ms)); };
  EXPECT_EQ(run(void_beside), weir::acked());
  EXPECT_EQ(one, 8);
}

TEST(Branches, OfWhichOneIsEnoughDecideOnlyIfBothFail) {
  std::size_t which = 9;
  const auto either = [&]() -> task<> { which = (co_await (throws(weir::Reject("no")) || number(7))).index(); };
  EXPECT_EQ(run(either), weir::acked());
  EXPECT_EQ(which, 1U);
  const auto of_three = [&]() -> task<> { which = (co_await (for_ever() || for_ever() || number(7))).index(); };
  EXPECT_EQ(run(of_three), weir::acked());
  EXPECT_EQ(which, 2U);
  const auto both_fail = [&]() -> task<> {
    co_await (throws(weir::Retry(7s, "busy")) || throws(weir::Reject("no items")));
  };
  EXPECT_EQ(run(both_fail), weir::rejected("no items"));
}

TEST(Branches, WhatAsiosOwnOperatorThrowsIsUnwrapped) {
  const auto several = [](auto what) {
    return [what]() -> task<> {
      throw boost::asio::multiple_exceptions(
          std::make_exception_ptr(boost::asio::multiple_exceptions(std::make_exception_ptr(what))));
      co_return;
    };
  };
  EXPECT_EQ(run(several(weir::Reject("no items"))), weir::rejected("no items"));
  EXPECT_EQ(run(several(weir::Retry(7s, "busy"))), weir::retried("busy", 7s));
  EXPECT_EQ(run(several(std::runtime_error("card declined"))), weir::retried("card declined"));
}

TEST(Branches, EndWithTheirHandlersTimeout) {
  const auto handler = [](Context&, const shop::OrderPlaced&) -> task<> { co_await (for_ever() && for_ever()); };
  EXPECT_EQ(weir::testing::run(handler, shop::OrderPlaced(), {.timeout = 5ms}), weir::retried("timed out after 5ms"));
  EXPECT_EQ(run([] { return weir::timeout(5ms, for_ever() && for_ever()); }), weir::retried("timed out after 5ms"));
}

}  // namespace
