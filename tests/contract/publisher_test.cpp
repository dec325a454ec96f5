// weir::Publisher over every engine.
#include "weir/publisher/publisher.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "rig.hpp"
#include "weir/v1/message.pb.h"

namespace weir::contract {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::SizeIs;

class PublisherContract : public testing::TestWithParam<RigKind> {
 protected:
  PublisherContract() : rig(GetParam().make()) {}
  engine::Engine& engine() { return rig->engine(); }

  std::unique_ptr<Rig> rig;
  boost::asio::io_context loop{1};
};

TEST_P(PublisherContract, AProtobufMessageIsConfirmedWithItsIdAndArrivesUnderItsType) {
  weir::Publisher publisher(engine(), loop.get_executor());
  Worker worker(engine(), loop, {"orders"}, {Messages{10}, Bytes{1'000'000}});
  v1::Header order;
  order.set_name("seven");
  const auto body = [&]() -> task<> {
    const Confirmation told = co_await publisher.publish("orders", order, {.key = "k"});
    const auto got = co_await worker.take(1);

    EXPECT_EQ(told.answer, Confirmation::Answer::confirmed);
    EXPECT_EQ(got.at(0).id, told.id);
    EXPECT_EQ(got.at(0).type, "weir.v1.Header");
    EXPECT_EQ(got.at(0).payload, order.SerializeAsString());
    EXPECT_EQ(got.at(0).key, "k");
  };
  run(loop, body);
}

TEST_P(PublisherContract, OnceItIsClosedNothingOfItKeepsTheLoopRunning) {
  weir::Publisher publisher(engine(), loop.get_executor());
  std::string said;
  const auto body = [&]() -> task<> {
    const Confirmation told = co_await publisher.publish_raw("orders", "contract.Message", "seven");
    EXPECT_EQ(told.answer, Confirmation::Answer::confirmed);
    co_await publisher.flush();
    co_await publisher.close();
    try {
      (void)co_await publisher.publish_raw("orders", "contract.Message", "eight");
    } catch (const Error& error) {
      said = error.what();
    }
  };
  boost::asio::co_spawn(loop, body, [](const std::exception_ptr& thrown) {
    if (thrown) std::rethrow_exception(thrown);
  });

  loop.run_for(5s);

  EXPECT_TRUE(loop.stopped()) << "something keeps it running";
  EXPECT_EQ(said, "this publisher was closed; make another");
}

TEST_P(PublisherContract, ManyAwaitedAtOnceEachHearOfTheirOwn) {
  weir::Publisher publisher(engine(), loop.get_executor());
  std::vector<std::string> ids;
  int running = 0;
  const auto one = [&](std::string payload) -> task<> {
    const Confirmation told = co_await publisher.publish_raw("orders", "contract.Message", payload);
    EXPECT_EQ(told.answer, Confirmation::Answer::confirmed);
    ids.push_back(told.id);
    --running;
  };
  const auto body = [&]() -> task<> {
    for (int i = 0; i < 100; ++i) {
      ++running;
      boost::asio::co_spawn(loop, one(std::to_string(i)), [](const std::exception_ptr& error) { EXPECT_FALSE(error); });
    }
    while (running > 0) co_await pause(1ms);
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
    EXPECT_THAT(ids, SizeIs(100));
  };
  run(loop, body);
}

TEST_P(PublisherContract, InBulkEveryMessageIsAnswered) {
  weir::Publisher publisher(engine(), loop.get_executor());
  std::uint64_t heard = 0;
  publisher.on_answer([&](const Confirmation& answer) { heard += answer.count; });
  const auto body = [&]() -> task<> {
    const std::string payload(256, 'x');
    for (int i = 0; i < 100'000; ++i) {
      while (!publisher.try_send("orders", "contract.Message", payload)) co_await publisher.room("orders");
      if (i == 50'000) rig->restart();
    }
    co_await publisher.flush();

    EXPECT_EQ(publisher.counts().confirmed, 100'000U);
    EXPECT_EQ(heard, 100'000U);
    EXPECT_EQ(rig->queue("orders").published(), 100'000U);
  };
  run(loop, body);
}

TEST_P(PublisherContract, AnUnknownQueueIsSaidAtTheCall) {
  weir::Publisher publisher(engine(), loop.get_executor());
  const auto body = [&]() -> task<> {
    try {
      co_await publisher.publish_raw("nonsense", "contract.Message", "x");
      ADD_FAILURE() << "published";
    } catch (const UnknownQueue& error) {
      EXPECT_THAT(error.what(), HasSubstr("unknown queue 'nonsense'"));
    }
  };
  run(loop, body);
}

TEST_P(PublisherContract, WhatTheBrokerWouldRefuseThrowsAtTheCallAndHarmsNobody) {
  weir::Publisher publisher(engine(), loop.get_executor());
  const std::string long_key(5000, 'k');
  const std::pair<std::string, PublishOptions> all[] = {
      {"bad\xff", {}},
      {std::string(513, 't'), {}},
      {"t", {.key = long_key}},
      {"t", {.unique_id = long_key}},
      {"t", {.delay = Duration::max()}},
      {"t", {.deliver_at = WallTime{Duration::max()}}},
      {"t", {.priority = 10}},
  };
  const auto body = [&]() -> task<> {
    for (const auto& [type, options] : all) {
      EXPECT_THROW(static_cast<void>(publisher.try_send("orders", type, "x", options)), Error) << type;
    }
    const Confirmation told = co_await publisher.publish_raw("orders", "contract.Message", "fine");
    EXPECT_EQ(told.answer, Confirmation::Answer::confirmed);
    EXPECT_EQ(rig->queue("orders").published(), 1U);
  };
  run(loop, body);
}

TEST_P(PublisherContract, MayBeGoneWithAnswersOutstanding) {
  const auto body = [&]() -> task<> {
    weir::Publisher publisher(engine(), loop.get_executor());
    co_await publisher.room("orders");
    EXPECT_TRUE(publisher.try_send("orders", "contract.Message", "x"));
  };
  run(loop, body);
  loop.restart();
  loop.run_for(50ms);
}

/// By this program's wall clock, which is the broker's.
WallTime wall() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

TEST_P(PublisherContract, AMessageWithATimeIsNotDeliveredBeforeIt) {
  weir::Publisher publisher(engine(), loop.get_executor());
  Worker worker(engine(), loop, {"orders"}, {Messages{10}, Bytes{1'000'000}});
  const auto body = [&]() -> task<> {
    PublishOptions later;
    later.deliver_at = wall() + 2s;
    co_await publisher.publish_raw("orders", "contract.Message", "later", later);
    PublishOptions over;
    over.deliver_at = wall() - 1h;
    co_await publisher.publish_raw("orders", "contract.Message", "over", over);
    EXPECT_EQ(rig->queue("orders").delayed(), 1U);

    const auto first = co_await worker.take(1);
    EXPECT_LT(wall(), *later.deliver_at);
    worker.settle(first, Outcome::ack);
    const auto second = co_await worker.take(1);

    EXPECT_EQ(first.at(0).payload, "over");
    EXPECT_EQ(second.at(0).payload, "later");
    EXPECT_GE(wall(), *later.deliver_at);
    EXPECT_LT(wall(), *later.deliver_at + 5s);
  };
  run(loop, body);
}

TEST_P(PublisherContract, AnOutputWithATimeIsNotDeliveredBeforeIt) {
  weir::Publisher publisher(engine(), loop.get_executor());
  Worker worker(engine(), loop, {"orders", "emails"}, {Messages{10}, Bytes{1'000'000}});
  const auto body = [&]() -> task<> {
    co_await publisher.publish_raw("orders", "contract.Message", "one");
    const auto got = co_await worker.take(1);
    engine::SettlementDetail detail;
    detail.outputs.push_back(output_to("emails", "later"));
    detail.outputs.push_back(output_to("emails", "at once"));
    const WallTime at = wall() + 2s;
    detail.outputs[0].deliver_at = at;
    worker.settle(got.at(0), Outcome::ack, std::move(detail));

    const auto first = co_await worker.take(1);
    EXPECT_LT(wall(), at);
    worker.settle(first, Outcome::ack);
    const auto second = co_await worker.take(1);

    EXPECT_EQ(first.at(0).payload, "at once");
    EXPECT_EQ(second.at(0).payload, "later");
    EXPECT_GE(wall(), at);
  };
  run(loop, body);
}

INSTANTIATE_TEST_SUITE_P(Engines, PublisherContract, testing::ValuesIn(rig_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace weir::contract
