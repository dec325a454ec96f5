// Who vouches for a process, who reports its death, and who asks: of the engines that can.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rig.hpp"
#include "weir/engine/make.hpp"
#include "weir/engine/weir/control.hpp"
#include "weir/message/error.hpp"

namespace weir::contract {
namespace {

using engine::DeathAnswer;
using engine::weir_broker::Control;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Nobody listens there: port 1 is reserved.
constexpr const char* nowhere = "weir://127.0.0.1:1";

engine::SessionOptions orders_as(const ProcessToken& process, std::uint32_t shard) {
  engine::SessionOptions options;
  options.group = "contract";
  options.process = process;
  options.shard = shard;
  options.queues = {{"orders", {}}};
  options.window = {Messages{10}, Bytes{1'000'000}};
  return options;
}

class Process : public testing::Test {
 protected:
  std::unique_ptr<Rig> rig = make_weir_rig();
  boost::asio::io_context loop{1};
};

TEST_F(Process, KeepsItsLeasesWhileItIsVouchedForAndLosesThemAfterwards) {
  const ProcessToken token = random_token();
  Publisher publisher(rig->engine(), loop);
  Worker worker(rig->engine(), loop, orders_as(token, 0));
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", std::vector<std::string>(1, "one"));
    EXPECT_THAT(co_await worker.take(1), SizeIs(1));
    {
      const auto alive = rig->engine().keep_alive({.process = token});
      EXPECT_THAT(co_await worker.take(1, 3 * session_timeout), IsEmpty());
      EXPECT_THAT(worker.lost, IsEmpty());
    }
    // Its session ends, it says HELLO again, and is told what it lost; the message comes back to it.
    EXPECT_THAT(co_await worker.take(1, 5 * session_timeout), SizeIs(1));
    EXPECT_THAT(worker.lost, SizeIs(1));
  };
  run(loop, body);
}

TEST_F(Process, AReportOfItsDeathReturnsItsMessagesAtOnce) {
  const ProcessToken token = random_token();
  Publisher publisher(rig->engine(), loop);
  auto dead = std::make_unique<Worker>(rig->engine(), loop, orders_as(token, 0));
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", std::vector<std::string>(1, "one"));
    EXPECT_THAT(co_await dead->take(1), SizeIs(1));
    dead->drop();
    EXPECT_EQ(rig->engine().report_death(token, {.signal = 11}, 5s), DeathAnswer::reported);

    Worker other(rig->engine(), loop, {"orders"}, {Messages{10}, Bytes{1'000'000}});
    const auto got = co_await other.take(1, 800ms);  // sooner than the session's timeout

    EXPECT_THAT(got, SizeIs(1));
    for (const Got& one : got) EXPECT_EQ(one.attempt, 1U);
  };
  run(loop, body);
}

TEST_F(Process, AReportWithAWrongTokenBuriesNobody) {
  Publisher publisher(rig->engine(), loop);
  Worker worker(rig->engine(), loop, orders_as(random_token(), 0));
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", std::vector<std::string>(1, "one"));
    EXPECT_THAT(co_await worker.take(1), SizeIs(1));

    EXPECT_EQ(rig->engine().report_death(random_token(), {.exit_code = 1}, 5s), DeathAnswer::unknown);

    EXPECT_EQ(rig->queue("orders").leased(), 1U);
  };
  run(loop, body);
}

TEST(Nobody, AnswersAReport) {
  EXPECT_EQ(engine::make(nowhere)->report_death(random_token(), {.exit_code = 1}, 300ms), DeathAnswer::no_answer);
}

TEST(Nobody, AnswersAQuestionAndTheErrorSaysWhereAndWhatToDo) {
  Control control(nowhere, 300ms);
  v1::ControlRequest request;
  request.mutable_list_queues();
  try {
    (void)control.request(request);
    FAIL() << "answered";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no broker answers at weir://127.0.0.1:1 (nobody listens there)"));
    EXPECT_THAT(error.what(), HasSubstr("weir up"));
  }
}

TEST_F(Process, AQuestionThatTheBrokerRefusesIsRefusedInItsWords) {
  Control control(rig->url());
  v1::ControlRequest request;
  request.mutable_list_dead()->set_queue("nonsense");
  try {
    (void)control.request(request);
    FAIL() << "answered";
  } catch (const Refused& error) {
    EXPECT_THAT(error.what(), HasSubstr("nonsense"));
  }
}

TEST(Urls, ThatAreWrongAreSaid) {
  const auto words = [](const std::string& url) {
    try {
      (void)engine::make(url);
      return std::string("made");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_THAT(words("amqp://localhost"), HasSubstr("amqp:// is not in this version"));
  EXPECT_THAT(words("redis://localhost"), HasSubstr("of no known kind"));
  EXPECT_THAT(words("weir://"), HasSubstr("names no host"));
  EXPECT_THAT(words("weir://host:0"), HasSubstr("port"));
  EXPECT_THAT(words("weir://host:7733/orders"), HasSubstr("more than a host and a port"));
  EXPECT_EQ(words("weir://127.0.0.1:7733"), "made");
}

TEST(Urls, OneNameInMemoryIsOneBroker) {
  engine::MakeOptions options;
  options.queues = queues();
  const auto first = engine::make("memory://shared", options);
  const auto second = engine::make("memory://shared");
  boost::asio::io_context loop{1};
  Publisher publisher(*first, loop);
  Worker worker(*second, loop, {"orders"}, {Messages{10}, Bytes{1'000'000}});
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", std::vector<std::string>(1, "one"));
    EXPECT_THAT(co_await worker.take(1), SizeIs(1));
  };
  run(loop, body);
}

}  // namespace
}  // namespace weir::contract
