// What every engine must do alike.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "rig.hpp"

namespace weir::contract {
namespace {

using engine::Confirmation;
using engine::Outgoing;
using engine::SettlementDetail;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

const Load wide{Messages{1024}, Bytes{64 * 1024 * 1024}};

std::vector<std::string> payloads(const std::vector<Got>& got) {
  std::vector<std::string> all;
  for (const Got& one : got) all.push_back(one.payload);
  return all;
}

/// For awaited calls: g++ 12 cannot take a braced list there.
template <class... Text>
std::vector<std::string> list(const Text&... texts) {
  return {std::string(texts)...};
}

std::vector<std::string> numbered(int count) {
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) all.push_back("message " + std::to_string(i));
  return all;
}

class EngineContract : public testing::TestWithParam<RigKind> {
 protected:
  EngineContract() : rig(GetParam().make()) {}
  ~EngineContract() override { loop.restart(); }

  engine::Engine& engine() { return rig->engine(); }

  std::unique_ptr<Rig> rig;
  boost::asio::io_context loop{1};
};

TEST_P(EngineContract, AMessageIsPublishedConfirmedDeliveredAndAcked) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    Outgoing like;
    like.key = "customer 7";
    const auto confirmed = co_await publisher.publish("orders", list("one"), like);
    EXPECT_THAT(confirmed, SizeIs(1));
    EXPECT_EQ(confirmed[0].answer, Confirmation::Answer::confirmed);

    const auto got = co_await worker.take(1);
    EXPECT_THAT(got, SizeIs(1));
    EXPECT_EQ(got[0].payload, "one");
    EXPECT_EQ(got[0].key, "customer 7");
    EXPECT_EQ(got[0].type, "contract.Message");
    EXPECT_EQ(got[0].attempt, 1U);
    EXPECT_EQ(got[0].id, confirmed[0].id);

    worker.settle(got, Outcome::ack);
    co_await worker.session().all_confirmed();
    EXPECT_EQ(rig->queue("orders").acked(), 1U);
    EXPECT_EQ(rig->queue("orders").ready() + rig->queue("orders").leased(), 0U);
  };
  run(loop, body);
}

TEST_P(EngineContract, ThousandsArriveOnceAndInOrder) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    const auto sent = numbered(5000);
    co_await publisher.publish("orders", sent);
    std::vector<std::string> arrived;
    while (arrived.size() < sent.size()) {
      const auto got = co_await worker.take(1);
      if (got.empty()) break;
      for (const Got& one : got) arrived.push_back(one.payload);
      worker.settle(got, Outcome::ack);
    }
    EXPECT_EQ(arrived, sent);
    co_await worker.session().all_confirmed();
    EXPECT_EQ(rig->queue("orders").acked(), sent.size());
  };
  run(loop, body);
}

TEST_P(EngineContract, ARetriedMessageComesBackAfterTheBackoffWithOneMoreAttempt) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("one"));
    const auto first = co_await worker.take(1);
    const auto at = std::chrono::steady_clock::now();
    worker.settle(first.at(0), Outcome::retry, SettlementDetail{.error = "not yet"});

    const auto second = co_await worker.take(1);

    EXPECT_THAT(second, SizeIs(1));
    EXPECT_EQ(second.at(0).attempt, 2U);
    EXPECT_EQ(second.at(0).id, first.at(0).id);
    EXPECT_GE(std::chrono::steady_clock::now() - at, 49ms);
  };
  run(loop, body);
}

TEST_P(EngineContract, ARejectedMessageIsADeadLetterWithItsReason) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("bad"));
    const auto got = co_await worker.take(1);
    worker.settle(got.at(0), Outcome::reject, SettlementDetail{.error = "no items"});
    co_await worker.session().all_confirmed();

    const auto dead = rig->dead("orders");
    EXPECT_THAT(dead, SizeIs(1));
    EXPECT_EQ(dead.at(0).summary().id(), got.at(0).id);
    EXPECT_EQ(dead.at(0).summary().last_error(), "no items");
    EXPECT_EQ(dead.at(0).payload(), "bad");
  };
  run(loop, body);
}

TEST_P(EngineContract, AMessageOutOfAttemptsIsADeadLetterWithItsHistory) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("doomed"));
    for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
      const auto got = co_await worker.take(1);
      EXPECT_EQ(got.at(0).attempt, attempt);
      SettlementDetail detail;
      detail.error = "failure " + std::to_string(attempt);
      detail.duration = 5ms;
      worker.settle(got.at(0), Outcome::retry, std::move(detail));
    }
    co_await worker.session().all_confirmed();

    const auto dead = rig->dead("orders");
    EXPECT_THAT(dead, SizeIs(1));
    EXPECT_EQ(dead.at(0).summary().attempts(), 3U);
    EXPECT_EQ(dead.at(0).history_size(), 3);
    EXPECT_EQ(dead.at(0).history(0).error(), "failure 1");
    EXPECT_EQ(dead.at(0).history(2).error(), "failure 3");
    EXPECT_EQ(dead.at(0).history(2).duration_us(), 5000U);
    EXPECT_THAT(dead.at(0).history(0).worker(), HasSubstr("contract/"));
  };
  run(loop, body);
}

TEST_P(EngineContract, AMessageKeepsItsNameThroughRetryRestartDeadLetterAndReplay) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(3));
    std::vector<MessageName> names;
    std::vector<std::string> deaths;
    for (int attempt = 1; attempt <= 3; ++attempt) {
      auto got = co_await worker.take(3);
      if (attempt == 2) rig->restart();
      std::sort(got.begin(), got.end(), [](const Got& a, const Got& b) { return a.payload < b.payload; });
      for (const Got& one : got) {
        if (attempt == 1) {
          names.push_back(one.name);
        } else {
          EXPECT_EQ(one.name, names.at(one.payload.back() - '0'));
        }
        worker.settle(one, Outcome::retry, SettlementDetail{.error = "not yet"});
      }
      co_await worker.session().all_confirmed();
    }
    EXPECT_EQ((std::set<MessageName>{names.begin(), names.end()}.size()), 3U);
    EXPECT_EQ(names.at(0).publisher, names.at(2).publisher);
    for (const auto& dead : rig->dead("orders")) deaths.push_back(dead.summary().name());
    EXPECT_THAT(deaths, UnorderedElementsAre(names.at(0).text(), names.at(1).text(), names.at(2).text()));

    rig->replay("orders");

    for (const Got& one : co_await worker.take(3)) EXPECT_EQ(one.name, names.at(one.payload.back() - '0'));
  };
  run(loop, body);
}

TEST_P(EngineContract, OutputsAreNamedAfterTheirSourcesAndDifferFromEachOther) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders", "emails"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(2));
    std::set<MessageName> seen;
    auto sources = co_await worker.take(2);
    for (const Got& one : sources) {
      seen.insert(one.name);
      SettlementDetail detail;
      for (const char* which : {" a", " b"}) detail.outputs.push_back(output_to("emails", one.payload + which));
      worker.settle(one, Outcome::ack, std::move(detail));
    }
    for (const Got& one : co_await worker.take(4)) seen.insert(one.name);
    EXPECT_EQ(seen.size(), 6U);
  };
  run(loop, body);
}

TEST_P(EngineContract, AReleasedMessageComesBackAtOnceAndUncounted) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("one"));
    for (int i = 0; i < 5; ++i) {  // more often than there are attempts
      const auto got = co_await worker.take(1);
      EXPECT_EQ(got.at(0).attempt, 1U);
      worker.settle(got, Outcome::release);
    }
    const auto got = co_await worker.take(1);
    worker.settle(got, Outcome::ack);
    co_await worker.session().all_confirmed();
    EXPECT_THAT(rig->dead("orders"), IsEmpty());
  };
  run(loop, body);
}

TEST_P(EngineContract, ADeferredMessageComesBackWhenItSaidAndUncounted) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("one"));
    const auto first = co_await worker.take(1);
    const auto at = std::chrono::steady_clock::now();
    worker.settle(first.at(0), Outcome::defer, SettlementDetail{.delay = 200ms});

    const auto second = co_await worker.take(1);

    EXPECT_EQ(second.at(0).attempt, 1U);
    EXPECT_GE(std::chrono::steady_clock::now() - at, 199ms);
  };
  run(loop, body);
}

TEST_P(EngineContract, AMessagePublishedWithADelayWaits) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    Outgoing later;
    later.delay = 300ms;
    const auto at = std::chrono::steady_clock::now();
    co_await publisher.publish("orders", list("later"), later);
    co_await publisher.publish("orders", list("now"));

    const auto got = co_await worker.take(2);

    EXPECT_THAT(payloads(got), ElementsAre("now", "later"));
    EXPECT_GE(std::chrono::steady_clock::now() - at, 299ms);
  };
  run(loop, body);
}

TEST_P(EngineContract, AnAckAndItsOutputsLeaveTogether) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders", "emails"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("good", "retried"));
    const auto got = co_await worker.take(2);
    for (const Got& one : got) {
      SettlementDetail detail;
      detail.outputs.push_back(output_to("emails", "about " + one.payload));
      detail.outputs.push_back(output_to("emails", "more about " + one.payload));
      if (one.payload != "good") detail.outputs.clear();
      worker.settle(one, one.payload == "good" ? Outcome::ack : Outcome::retry, std::move(detail));
    }

    auto after = co_await worker.take(3);

    EXPECT_THAT(payloads(after), UnorderedElementsAre("about good", "more about good", "retried"));
    EXPECT_THAT(co_await worker.take(1, 200ms), IsEmpty());
  };
  run(loop, body);
}

TEST_P(EngineContract, TheWindowHoldsInMessages) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, {Messages{7}, Bytes{1024 * 1024}});
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(50));
    auto held = co_await worker.take(8, 300ms);
    EXPECT_THAT(held, SizeIs(7));
    std::set<engine::Ticket> tickets;
    for (const Got& one : held) tickets.insert(one.ticket);
    EXPECT_EQ(tickets.size(), 7U);
    EXPECT_LT(*tickets.rbegin(), 7U);

    const std::vector<Got> two{held[0], held[1]};
    worker.settle(two, Outcome::ack);

    EXPECT_THAT(co_await worker.take(3, 300ms), SizeIs(2));
  };
  run(loop, body);
}

TEST_P(EngineContract, TheWindowHoldsInBytesAndLetsALargeMessageThroughAlone) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, {Messages{100}, Bytes{10'000}});
  const auto body = [&]() -> task<> {
    const std::string small(3000, 's');
    const std::string large(50'000, 'L');
    co_await publisher.publish("orders", list(small, small, small, small, large));
    auto first = co_await worker.take(4, 300ms);
    EXPECT_THAT(first, SizeIs(3));

    worker.settle(first, Outcome::ack);
    const auto fourth = co_await worker.take(2, 300ms);
    EXPECT_THAT(fourth, SizeIs(1));
    EXPECT_EQ(fourth.at(0).payload.size(), small.size());

    worker.settle(fourth, Outcome::ack);
    const auto last = co_await worker.take(1);
    EXPECT_EQ(last.at(0).payload, large);
  };
  run(loop, body);
}

TEST_P(EngineContract, ASessionThatIsLostReturnsItsMessagesUncounted) {
  Publisher publisher(engine(), loop);
  auto lost = std::make_unique<Worker>(engine(), loop, std::vector<std::string>{"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(3));
    EXPECT_THAT(co_await lost->take(3), SizeIs(3));
    lost->drop();
    co_await pause(session_timeout / 2);  // nobody vouches for the other one either
    Worker other(engine(), loop, {"orders"}, wide);

    // Nobody can say which of them had started, so they are suspects: one at first, more as they settle.
    std::vector<std::string> got;
    while (got.size() < 3) {
      const auto some = co_await other.take(1);
      if (some.empty()) break;
      for (const Got& one : some) {
        got.push_back(one.payload);
        EXPECT_EQ(one.attempt, 1U);
      }
      other.settle(some, Outcome::ack);
    }
    EXPECT_THAT(got, UnorderedElementsAre("message 0", "message 1", "message 2"));
  };
  run(loop, body);
}

TEST_P(EngineContract, ASessionThatSaysGoodbyeReturnsItsMessagesAtOnce) {
  Publisher publisher(engine(), loop);
  Worker first(engine(), loop, {"orders"}, wide);
  Worker second(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(3));
    EXPECT_THAT(co_await first.take(3), SizeIs(3));
    co_await first.session().close();

    const auto got = co_await second.take(3, 800ms);  // sooner than a session's timeout

    EXPECT_THAT(got, SizeIs(3));
    for (const Got& one : got) EXPECT_EQ(one.attempt, 1U);
  };
  run(loop, body);
}

TEST_P(EngineContract, TicketsAndDeliveriesSurviveABrokerRestart) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(10));
    const auto held = co_await worker.take(10);
    const std::vector<Got> early(held.begin(), held.begin() + 3);
    const std::vector<Got> late(held.begin() + 3, held.end());
    worker.settle(early, Outcome::ack);
    rig->restart();

    // Nothing runs twice: what is held is claimed, what was settled is settled once.
    EXPECT_THAT(co_await worker.take(1, 500ms), IsEmpty());
    EXPECT_TRUE(worker.session().connected());
    worker.settle(late, Outcome::ack);
    co_await worker.session().all_confirmed();

    EXPECT_THAT(worker.lost, IsEmpty());
    EXPECT_EQ(rig->queue("orders").ready() + rig->queue("orders").leased(), 0U);
  };
  run(loop, body);
}

TEST_P(EngineContract, SettlementsMadeWhileTheBrokerIsAwayAreConfirmedLater) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders", "emails"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(4));
    const auto held = co_await worker.take(4);
    rig->restart();
    SettlementDetail detail;
    detail.outputs.push_back(output_to("emails", "hello"));
    worker.settle(held.at(0), Outcome::ack, std::move(detail));
    worker.settle(held.at(1), Outcome::reject, SettlementDetail{.error = "bad"});
    const std::vector<Got> rest(held.begin() + 2, held.end());
    worker.settle(rest, Outcome::ack);

    co_await worker.session().all_confirmed();

    EXPECT_THAT(payloads(co_await worker.take(1)), ElementsAre("hello"));
    EXPECT_THAT(rig->dead("orders"), SizeIs(1));
    EXPECT_EQ(rig->queue("orders").ready() + rig->queue("orders").leased(), 0U);
  };
  run(loop, body);
}

TEST_P(EngineContract, TwentyRestartsLoseNothingAndRunNothingTwice) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, {Messages{16}, Bytes{1024 * 1024}});
  const auto body = [&]() -> task<> {
    const auto sent = numbered(400);
    co_await publisher.publish("orders", sent);
    std::vector<std::string> arrived;
    std::vector<Got> held;
    for (int round = 0; round < 20; ++round) {
      for (Got& one : co_await worker.take(8, 100ms)) {
        arrived.push_back(one.payload);
        held.push_back(std::move(one));
      }
      const std::vector<Got> some(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(held.size() / 2));
      held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(some.size()));
      worker.settle(some, Outcome::ack);
      rig->restart();
    }
    worker.settle(held, Outcome::ack);
    while (arrived.size() < sent.size()) {
      const auto got = co_await worker.take(1, 5s);
      if (got.empty()) break;
      for (const Got& one : got) arrived.push_back(one.payload);
      worker.settle(got, Outcome::ack);
    }
    co_await worker.session().all_confirmed();
    std::sort(arrived.begin(), arrived.end());
    auto all = sent;
    std::sort(all.begin(), all.end());
    EXPECT_EQ(arrived, all);
    EXPECT_THAT(worker.lost, IsEmpty());
  };
  run(loop, body, 60s);
}

TEST_P(EngineContract, APublishIsStoredOnceOverRestarts) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  const auto body = [&]() -> task<> {
    const auto sent = numbered(3000);
    engine::Producer& producer = publisher.producer();
    std::uint64_t confirmed = 0;
    std::size_t next = 0;
    while (confirmed < sent.size()) {
      for (int i = 0; i < 300 && next < sent.size(); ++i) {
        const std::string message = body_of(sent[next]);
        Outgoing out;
        out.queue = "orders";
        out.type = "contract.Message";
        out.body = message;
        if (!producer.offer(out)) break;
        ++next;
      }
      producer.flush();
      if (next % 600 == 0 || next == sent.size()) rig->restart();
      if (producer.unanswered() == 0) {
        co_await producer.room("orders");
        continue;
      }
      for (const Confirmation& answer : co_await producer.confirmations()) {
        EXPECT_EQ(answer.answer, Confirmation::Answer::confirmed) << answer.reason;
        confirmed += answer.count;
      }
    }
    EXPECT_EQ(confirmed, sent.size());
    std::vector<std::string> arrived;
    while (true) {
      const auto got = co_await worker.take(1, 500ms);
      if (got.empty()) break;
      for (const Got& one : got) arrived.push_back(one.payload);
      worker.settle(got, Outcome::ack);
    }
    EXPECT_EQ(arrived.size(), sent.size());
    EXPECT_EQ(arrived, sent);
  };
  run(loop, body, 60s);
}

TEST_P(EngineContract, AWorkerOfAnUnknownQueueIsRefusedAndToldWhatThereIs) {
  Worker worker(engine(), loop, {"nonsense"}, wide);
  const auto body = [&]() -> task<> {
    try {
      const auto batch = co_await worker.session().receive();
      ADD_FAILURE() << "took " << batch.deliveries.size();
    } catch (const Refused& error) {
      EXPECT_THAT(error.what(), HasSubstr("unknown queue 'nonsense'"));
      EXPECT_THAT(error.what(), HasSubstr("orders"));
    }
  };
  run(loop, body);
}

TEST_P(EngineContract, APublishToAnUnknownQueueThrows) {
  Publisher publisher(engine(), loop);
  const auto body = [&]() -> task<> {
    try {
      co_await publisher.publish("nonsense", list("one"));
      ADD_FAILURE() << "published";
    } catch (const UnknownQueue& error) {
      EXPECT_THAT(error.what(), HasSubstr("unknown queue 'nonsense'; this broker has: emails, orders"));
    }
    EXPECT_THAT(co_await publisher.publish("orders", list("two")), SizeIs(1));
  };
  run(loop, body);
}

TEST_P(EngineContract, AMessageOverTheLimitThrowsAndHarmsNobody) {
  Publisher publisher(engine(), loop);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("one"));
    try {
      co_await publisher.publish("orders", list(std::string(message_most + 1, 'x')));
      ADD_FAILURE() << "published";
    } catch (const TooLarge& error) {
      EXPECT_THAT(error.what(), HasSubstr("at most 262144"));
    }
    EXPECT_THAT(co_await publisher.publish("orders", list("two", std::string(message_most - 100, 'x'), "three")),
                testing::Not(IsEmpty()));
    EXPECT_EQ(rig->queue("orders").published(), 4U);
  };
  run(loop, body);
}

TEST_P(EngineContract, ASessionThatStopsTakingKeepsWhatItHasAndTakesNoMore) {
  Publisher publisher(engine(), loop);
  Worker worker(engine(), loop, {"orders"}, wide);
  Worker other(engine(), loop, {"emails"}, wide);
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", list("one"));
    const auto held = co_await worker.take(1);
    worker.session().stop_taking();
    co_await publisher.publish("orders", list("two"));

    EXPECT_THAT(co_await worker.take(1, 200ms), IsEmpty());
    worker.settle(held, Outcome::ack);
    co_await worker.session().all_confirmed();

    EXPECT_EQ(rig->queue("orders").ready(), 1U);
    EXPECT_EQ(rig->queue("orders").leased(), 0U);
  };
  run(loop, body);
}

TEST_P(EngineContract, TwoWorkersNeverHoldTheSameMessage) {
  Publisher publisher(engine(), loop);
  Worker first(engine(), loop, {"orders"}, {Messages{10}, Bytes{1024 * 1024}});
  Worker second(engine(), loop, {"orders"}, {Messages{10}, Bytes{1024 * 1024}});
  const auto body = [&]() -> task<> {
    co_await publisher.publish("orders", numbered(200));
    std::multiset<std::string> arrived;
    while (arrived.size() < 200) {
      const auto a = co_await first.take(1, 100ms);
      const auto b = co_await second.take(1, 100ms);
      if (a.empty() && b.empty()) break;
      for (const Got& one : a) arrived.insert(one.payload);
      for (const Got& one : b) arrived.insert(one.payload);
      first.settle(a, Outcome::ack);
      second.settle(b, Outcome::ack);
    }
    EXPECT_EQ(arrived.size(), 200U);
    EXPECT_EQ((std::set<std::string>{arrived.begin(), arrived.end()}.size()), 200U);
  };
  run(loop, body);
}

TEST_P(EngineContract, SaysWhatItCanDo) {
  const auto& able = engine().capabilities();
  EXPECT_TRUE(able.atomic_outputs);
  EXPECT_TRUE(able.idempotent_publish);
  EXPECT_FALSE(able.durability.empty());
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineContract, testing::ValuesIn(rig_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace weir::contract
