#include "weir/testing.hpp"

#include <gmock/gmock.h>

#include "shop/shop.pb.h"
#include "weir/handler.hpp"
#include "weir/handler/plugin_file.hpp"

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using weir::testing::run;
using weir::testing::run_raw;

shop::OrderPlaced an_order(std::string id = "7") {
  shop::OrderPlaced order;
  order.set_id(std::move(id));
  order.add_items("tea");
  return order;
}

weir::task<> accept(weir::Context&, const shop::OrderPlaced&) { co_return; }

TEST(AuthorsTests, RunThePluginsOwnRegistration) {
  const auto ran = run(weir_plugin_register, an_order(), {.queue = "orders"});

  EXPECT_EQ(ran, weir::acked());
  ASSERT_EQ(ran.published.size(), 1U);
  EXPECT_EQ(ran.published[0].queue, "emails");
  EXPECT_EQ(ran.published[0].as<shop::Confirmation>().id(), "7");
}

TEST(AuthorsTests, SeeRejectionsWithTheirReason) {
  shop::OrderPlaced empty = an_order();
  empty.clear_items();

  const auto ran = run(weir_plugin_register, empty, {.queue = "orders"});

  EXPECT_EQ(ran, weir::rejected("no items"));
  EXPECT_THAT(ran.published, IsEmpty());
}

TEST(AuthorsTests, SeeWhatTimesOutAsARetry) {
  EXPECT_EQ(run(weir_plugin_register, an_order("slow"), {.queue = "orders"}), weir::retried("timed out after 50ms"));
}

TEST(AuthorsTests, GiveThePluginItsOptions) {
  EXPECT_EQ(run(weir_plugin_register, an_order(), {.queue = "others"}, {{"queue", "others"}}), weir::acked());
}

TEST(AuthorsTests, RefuseAnOptionThatThePluginDoesNotAskFor) {
  try {
    (void)run(weir_plugin_register, an_order(), {.queue = "orders"}, {{"quueue", "others"}});
    FAIL() << "was taken";
  } catch (const weir::handler::PluginError& error) {
    EXPECT_THAT(error.what(), HasSubstr("has 'quueue', which the plugin does not ask for; it asks for 'queue'"));
  }
}

TEST(AuthorsTests, CancelAHandlerThatOverrunsItsOwnTimeout) {
  const auto endless = [](weir::Context&, const shop::OrderPlaced&) -> weir::task<> { co_await weir::sleep(1h); };

  EXPECT_EQ(run(endless, an_order(), {.timeout = 5ms}), weir::retried("timed out after 5ms"));
}

TEST(AuthorsTests, SeeHeadersKeyAttemptAndPayload) {
  std::string seen;
  const auto look = [&seen](weir::Context& ctx, std::string_view payload) -> weir::task<> {
    seen = std::string(payload) + "|" + std::string(ctx.header("trace").value_or("none")) + "|" +
           std::string(ctx.header("other").value_or("none")) + "|" + std::string(ctx.key()) + "|" +
           std::to_string(ctx.attempt()) + "|" + ctx.id() + "|" + std::string(ctx.type());
    co_return;
  };

  const auto ran = run_raw(look, "text", "hello",
                           {.queue = "notes", .key = "k", .attempt = 3, .headers = {{"a", "b"}, {"trace", "t1"}}});

  EXPECT_EQ(ran, weir::acked());
  EXPECT_EQ(seen, "hello|t1|none|k|3|notes/1.0|text");
}

TEST(AuthorsTests, SeePublishedHeadersAndOptions) {
  const auto forward = [](weir::Context& ctx, const shop::OrderPlaced& order) -> weir::task<> {
    const weir::HeaderView headers[] = {{"trace", "t1"}};
    const weir::WallTime at{std::chrono::hours(500'000)};
    ctx.publish("next", order,
                {.key = "k", .unique_id = "u", .delay = 5s, .deliver_at = at, .priority = 7, .headers = headers});
    ctx.publish_raw("next", "text", "plain");
    co_return;
  };

  const auto ran = run(forward, an_order());

  ASSERT_EQ(ran.published.size(), 2U);
  EXPECT_EQ(ran.published[0].as<shop::OrderPlaced>().id(), "7");
  EXPECT_THAT(ran.published[0].headers, ElementsAre(Pair("trace", "t1")));
  EXPECT_EQ(ran.published[0].key, "k");
  EXPECT_EQ(ran.published[0].unique_id, "u");
  EXPECT_EQ(ran.published[0].delay, 5s);
  EXPECT_EQ(ran.published[0].deliver_at, weir::WallTime{std::chrono::hours(500'000)});
  EXPECT_EQ(ran.published[0].priority, 7);
  EXPECT_EQ(ran.published[1].payload, "plain");
  EXPECT_EQ(ran.published[1].type, "text");
}

TEST(AuthorsTests, ListHeadersInBraces) {
  const std::string id = "t1";
  const auto forward = [&](weir::Context& ctx, const shop::OrderPlaced& order) -> weir::task<> {
    ctx.publish("next", order, {.headers = {{"trace", id}}});
    ctx.publish_raw("next", "text", "plain", {.headers = {{"a", "b"}, {"c", "d"}}});
    const weir::PublishOptions named{.headers = {{"kept", "longer"}}};
    ctx.publish("next", order, named);
    const std::vector<weir::HeaderView> many(20, weir::HeaderView{"n", "v"});
    ctx.publish("next", order, {.headers = many});
    ctx.publish("next", order,
                {.headers = {{"1", ""}, {"2", ""}, {"3", ""}, {"4", ""}, {"5", ""}, {"6", ""}, {"7", ""}, {"8", ""}}});
    // Beside an await too, where g++ 12 compiles no initializer_list.
    const auto published = [&](weir::PublishOptions options) -> weir::task<> {
      ctx.publish("next", order, options);
      co_return;
    };
    co_await published({.key = "k", .headers = {{"trace", id}, {"x", "y"}}});
  };

  const auto ran = run(forward, an_order());

  ASSERT_EQ(ran, weir::acked());
  ASSERT_EQ(ran.published.size(), 6U);
  EXPECT_THAT(ran.published[0].headers, ElementsAre(Pair("trace", "t1")));
  EXPECT_THAT(ran.published[1].headers, ElementsAre(Pair("a", "b"), Pair("c", "d")));
  EXPECT_THAT(ran.published[2].headers, ElementsAre(Pair("kept", "longer")));
  EXPECT_EQ(ran.published[3].headers.size(), 20U);
  EXPECT_EQ(ran.published[4].headers.size(), 8U);
  EXPECT_THAT(ran.published[5].headers, ElementsAre(Pair("trace", "t1"), Pair("x", "y")));
}

TEST(AuthorsTests, PublishingFromAnotherThreadThanTheShardsThrowsThere) {
  const auto off_the_loop = [](weir::Context& ctx, const shop::OrderPlaced& order) -> weir::task<> {
    co_await weir::offload([&] { ctx.publish("next", order); });
  };
  const auto first_look = [](weir::Context& ctx, const shop::OrderPlaced&) -> weir::task<> {
    co_await weir::offload([&] { return ctx.payload().size(); });
  };
  const auto second_look = [](weir::Context& ctx, const shop::OrderPlaced& order) -> weir::task<> {
    const std::string_view payload = ctx.payload();
    const std::size_t size = co_await weir::offload([&] { return payload.size() + ctx.payload().size(); });
    if (size > 0) ctx.publish("next", order);
  };

  const auto refused = run(off_the_loop, an_order());

  EXPECT_EQ(refused.end.outcome(), weir::Outcome::retry);
  EXPECT_THAT(refused.end.why(), HasSubstr("publish to 'next' on a thread that is not the shard's"));
  EXPECT_THAT(refused.published, IsEmpty());
  EXPECT_THAT(run(first_look, an_order()).end.why(), HasSubstr("the message's bytes are looked at on a thread that"));
  EXPECT_EQ(run(second_look, an_order()).published.size(), 1U);
}

TEST(AuthorsTests, WhatABrokerWouldRefuseIsRefusedAtTheCall) {
  const auto published = [](std::string_view type, const weir::PublishOptions& options) {
    const auto forward = [&](weir::Context& ctx, const shop::OrderPlaced&) -> weir::task<> {
      ctx.publish_raw("next", type, "x", options);
      co_return;
    };
    return run(forward, an_order());
  };
  const std::string long_one(5000, 'k');
  const weir::WallTime never{weir::Duration::max()};

  EXPECT_EQ(published("bad\xff", {}),
            weir::retried("publish to 'next': its type is not UTF-8; it is the message's full Protobuf name"));
  EXPECT_EQ(published(long_one, {}), weir::retried("publish to 'next': a type of 5000 bytes; at most 512"));
  EXPECT_EQ(published("t", {.key = long_one}), weir::retried("publish to 'next': a key of 5000 bytes; at most 4096"));
  EXPECT_EQ(published("t", {.unique_id = long_one}),
            weir::retried("publish to 'next': a unique_id of 5000 bytes; at most 4096"));
  EXPECT_EQ(published("t", {.delay = weir::Duration::max()}),
            weir::retried("publish to 'next': a delay of more than a hundred years"));
  EXPECT_EQ(published("t", {.deliver_at = never}),
            weir::retried("publish to 'next': a deliver_at more than three hundred years after 1970"));
  EXPECT_EQ(published("t", {.priority = 10}), weir::retried("publish to 'next': priority 10; it goes from 0 to 9"));
  EXPECT_EQ(published("t", {.key = std::string_view(long_one).substr(0, 4096), .delay = -1s}).published.size(), 1U);
}

TEST(AuthorsTests, NoOutputLeavesWithoutAnAck) {
  const auto fail = [](weir::Context& ctx, const shop::OrderPlaced& order) -> weir::task<> {
    ctx.publish("next", order);
    throw std::runtime_error("card declined");
    co_return;
  };

  const auto ran = run(fail, an_order());

  EXPECT_EQ(ran, weir::retried("card declined"));
  EXPECT_THAT(ran.published, IsEmpty());
}

TEST(AuthorsTests, PublishingToAQueueThatTheEngineLacksThrowsAtTheCall) {
  const auto forward = [](weir::Context& ctx, const shop::OrderPlaced& order) -> weir::task<> {
    ctx.publish("nowhere", order);
    co_return;
  };

  EXPECT_EQ(run(forward, an_order(), {.queues = {{"next"}}}),
            weir::retried("publish to 'nowhere': the engine has no such queue"));
}

TEST(AuthorsTests, PublishingMoreThanASettleFrameHoldsThrowsAtTheCall) {
  const auto forward = [](weir::Context& ctx, const shop::OrderPlaced&) -> weir::task<> {
    ctx.publish_raw("next", "text", std::string(600, 'x'));
    ctx.publish_raw("next", "text", std::string(600, 'x'));
    co_return;
  };

  const auto ran = run(forward, an_order(), {.message_most = weir::Bytes{1000}});

  EXPECT_EQ(ran.end.outcome(), weir::Outcome::retry);
  EXPECT_THAT(ran.end.why(), HasSubstr("the outputs of one delivery are larger than 1000 bytes"));
}

TEST(HandlerEnds, MayBeThrown) {
  const auto throws = [](auto what) {
    return [what](weir::Context&, const shop::OrderPlaced&) -> weir::task<> {
      throw what;
      co_return;
    };
  };
  EXPECT_EQ(run(throws(weir::Reject("no")), an_order()), weir::rejected("no"));
  EXPECT_EQ(run(throws(weir::Retry("soon")), an_order()), weir::retried("soon"));
  EXPECT_EQ(run(throws(weir::Retry(5s, "later")), an_order()), weir::retried("later", 5s));
  EXPECT_EQ(run(throws(weir::Defer(1min)), an_order()), weir::deferred(1min));
  EXPECT_EQ(run(throws(weir::Throttled(1s)), an_order()), weir::throttled(1s));
  EXPECT_EQ(run(throws(42), an_order()), weir::retried("threw int, which is no std::exception"));
}

struct Wordless : std::exception {
  [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

TEST(HandlerEnds, AnExceptionWithoutWordsIsARetryThatNamesItsType) {
  const auto silent = [](weir::Context&, const shop::OrderPlaced&) -> weir::task<> {
    throw Wordless();
    co_return;
  };
  const auto empty = [](weir::Context&, const shop::OrderPlaced&) -> weir::task<> {
    throw std::runtime_error("");
    co_return;
  };
  EXPECT_THAT(run(silent, an_order()).end.why(), HasSubstr("Wordless, which says nothing"));
  EXPECT_EQ(run(empty, an_order()), weir::retried("threw std::runtime_error, which says nothing"));
}

TEST(HandlerEnds, MayBeReturned) {
  const auto ends = [](weir::Context& ctx, const shop::OrderPlaced&) -> weir::task<weir::End> {
    if (ctx.attempt() == 1) co_return weir::retried("first", 2s);
    co_return weir::acked();
  };
  const auto outcome = [](weir::Context&, const shop::OrderPlaced&) -> weir::task<weir::Outcome> {
    co_return weir::Outcome::release;
  };
  EXPECT_EQ(run(ends, an_order()), weir::retried("first", 2s));
  EXPECT_EQ(run(ends, an_order(), {.attempt = 2}), weir::acked());
  EXPECT_EQ(run(outcome, an_order()), weir::released());
}

TEST(HandlerEnds, AReasonIsMadeFitForTheProtocol) {
  const auto fail = [](weir::Context&, const shop::OrderPlaced&) -> weir::task<> {
    throw std::runtime_error("caf\xC3\xA9 \xFF" + std::string(2000, 'x'));
    co_return;
  };

  const auto ran = run(fail, an_order());

  EXPECT_EQ(ran.end.why().substr(0, 7), "caf\xC3\xA9 ?");
  EXPECT_EQ(ran.end.why().size(), 1000U);
}

TEST(HandlerEnds, APayloadThatDoesNotParseIsRejected) {
  const auto registration = [](weir::Plugin& plugin) { plugin.on<shop::OrderPlaced>("test", accept); };

  const auto ran = run(registration, "shop.OrderPlaced", "\xFF\xFF");

  EXPECT_EQ(ran, weir::rejected("payload of 2 bytes is no shop.OrderPlaced"));
}

TEST(Registration, TwoHandlersOfOneTypeAreRefused) {
  const auto registration = [](weir::Plugin& plugin) {
    plugin.on<shop::OrderPlaced>("test", accept);
    plugin.on<shop::OrderPlaced>("test", accept);
  };
  try {
    (void)run(registration, an_order());
    FAIL() << "was taken";
  } catch (const weir::handler::PluginError& error) {
    EXPECT_THAT(error.what(), HasSubstr("two handlers for type 'shop.OrderPlaced' of queue 'test'"));
  }
}

TEST(Registration, AQueueWithoutAHandlerIsRefused) {
  try {
    (void)run([](weir::Plugin&) {}, an_order());
    FAIL() << "was taken";
  } catch (const weir::handler::PluginError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("queue 'test' has no handler: the plugin registers none; register one, or take the "
                          "queue out of workers.test.queues"));
  }
  try {
    (void)run([](weir::Plugin& plugin) { plugin.on<shop::OrderPlaced>("orders", accept); }, an_order());
    FAIL() << "was taken";
  } catch (const weir::handler::PluginError& error) {
    EXPECT_THAT(error.what(), HasSubstr("queue 'test' has no handler; the plugin has handlers for 'orders'"));
  }
}

}  // namespace
