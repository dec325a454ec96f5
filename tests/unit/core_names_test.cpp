// Names: who published a message and which of his it is, wherever it is stored, and what outputs are named after.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "core_harness.hpp"
#include "weir/broker/core/names.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Connection worker = 1;
constexpr Connection publisher = 2;
constexpr Connection another_publisher = 3;
constexpr Connection reader = 4;  ///< of `emails`
constexpr Connection other = 5;

MessageName named(unsigned char publisher_id, std::uint64_t number) {
  return {*PublisherId::from(token(publisher_id).view()), number};
}

/// `orders`, whose worker publishes to `emails`.
struct Shop : Broker {
  explicit Shop(QueuePolicy policy = written_first()) : Broker({{"orders", policy}, {"emails", policy}}) {
    attach(worker, token(1), 1000);
    attach(reader, token(2), 1000, {}, {}, "emails");
    commit();
    inbox.clear();
  }
  /// One settle frame: each lease is acked, and publishes as many to `emails`.
  void ack(const std::vector<std::pair<std::uint64_t, int>>& sources) {
    v1::Frame frame;
    auto* group = frame.mutable_settle()->add_outputs();
    group->set_queue(2);
    group->mutable_index()->add_types("Mail");
    std::string run;
    for (const auto& [lease, outputs] : sources) {
      auto* settled = frame.mutable_settle()->add_runs();
      settled->set_lease(lease);
      settled->set_count(1);
      settled->set_outcome(v1::ACK);
      for (int i = 0; i < outputs; ++i) {
        group->add_source(lease);
        group->mutable_index()->add_lengths(4);
        run += "mail";
      }
    }
    say(worker, std::move(frame), run);
    commit();
  }
  std::uint64_t lease() { return deliveries(worker).back().lease(); }
};

TEST(Names, AMessageIsNamedByItsPublisherAndNumber) {
  Shop broker;
  broker.open_publisher(publisher, 7);

  broker.publish(publisher, 1, 2);
  broker.publish(publisher, 9, 1);
  broker.commit();

  EXPECT_THAT(broker.names(worker), ElementsAre(named(7, 1), named(7, 2), named(7, 9)));
}

TEST(Names, SmallFramesOfSeveralPublishersThatShareASegmentKeepTheirs) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.open_publisher(another_publisher, 8);

  broker.publish(publisher, 1, 2);
  broker.publish(another_publisher, 1, 1);
  broker.publish(publisher, 3, 2);
  broker.publish(publisher, 5, 1);
  broker.commit();

  EXPECT_THAT(broker.names(worker),
              ElementsAre(named(7, 1), named(7, 2), named(8, 1), named(7, 3), named(7, 4), named(7, 5)));
  EXPECT_THAT(broker.deliveries(worker), SizeIs(1));
  EXPECT_EQ(broker.deliveries(worker)[0].index().names_size(), 3);  // neighbours are one run
}

TEST(Names, OfAPartOfASegmentAreThatPartS) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 5);
  broker.commit();
  const std::uint64_t lease = broker.lease();
  broker.settle(worker, lease + 3, 1, v1::RELEASE);

  EXPECT_EQ(broker.names(worker).back(), named(7, 4));
}

TEST(Names, StayThroughDelayRetryRestartDeadLetterAndReplay) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 3, 1000);  // records from the start
  broker.publish(publisher, 4, 3);
  broker.commit();
  const std::uint64_t lease = broker.lease();
  broker.settle(worker, lease, 1, v1::REJECT);
  broker.settle(worker, lease + 1, 1, v1::RETRY, 0);
  broker.commit();
  broker.pass(1s);

  auto names = broker.names(worker);
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names,
              ElementsAre(named(7, 1), named(7, 2), named(7, 3), named(7, 4), named(7, 5), named(7, 5), named(7, 6)));
  const Place dead{1, broker.deliveries(worker)[0].segment(), 0};
  EXPECT_EQ(protocol::read_name(broker.dead(dead).name()), named(7, 4));

  broker.restart();
  Actions actions;
  (void)broker.core->replay_dead(broker.now, 0, 0, {dead}, actions);
  broker.commit();
  EXPECT_EQ(protocol::read_name(broker.record(dead).name()), named(7, 4));
}

TEST(Names, OfWhatIsPublishedAgainAfterACrashAreTheSameThoughItsPlaceIsNot) {
  Shop broker{QueuePolicy{}};
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 1);
  broker.commit();
  broker.attach(other, token(9), 0, {}, {}, "emails");
  ASSERT_TRUE(broker.seal());  // something else is being written
  broker.inbox[worker].clear();
  broker.publish(publisher, 2, 2);
  const auto before = broker.deliveries(worker);
  ASSERT_THAT(broker.names(worker), ElementsAre(named(7, 2), named(7, 3)));

  broker.restart();
  broker.attach(worker, token(1), 1000);
  broker.open_publisher(publisher, 7, 2);
  broker.publish(publisher, 2, 2);
  broker.commit();
  broker.pass(20s);
  broker.commit();

  const auto names = broker.names(worker);
  EXPECT_EQ(std::count(names.begin(), names.end(), named(7, 2)), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), named(7, 3)), 1);
  EXPECT_NE(broker.deliveries(worker).back().segment(), before.back().segment());
}

TEST(Names, AreTheBrokersToGive) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  auto frame = broker.publish_frame(1, 1);
  auto* stolen = frame.mutable_publish()->mutable_groups(0)->mutable_index()->add_names();
  stolen->set_publisher(std::string(token(8).view()));
  stolen->set_first(1);
  stolen->set_count(1);

  broker.say(publisher, std::move(frame), std::string(10, 'x'));

  EXPECT_EQ(broker.last(publisher).error().code(), v1::Error::MALFORMED);
  EXPECT_THAT(broker.last(publisher).error().message(), HasSubstr("`names` are the broker's to give"));
}

TEST(OutputNames, AnAckThatIsMadeAgainNamesItsOutputsAsBefore) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 3);
  broker.commit();
  std::uint64_t lease = broker.lease();
  auto store = broker.store;  // what is on disk before the acks
  broker.ack({{lease, 2}, {lease + 1, 1}, {lease + 2, 3}});
  const auto together = broker.names(reader);
  ASSERT_THAT(together, SizeIs(6));
  EXPECT_THAT((std::set<MessageName>{together.begin(), together.end()}), SizeIs(6));

  // Their handlers run again after a crash, one by one and in another order.
  broker.store = store;
  broker.restart();
  broker.attach(worker, token(1), 1000, {});
  broker.attach(reader, token(2), 1000, {}, {}, "emails");
  broker.commit();
  lease = broker.lease();
  broker.ack({{lease + 2, 3}});
  broker.ack({{lease + 1, 1}, {lease, 2}});

  EXPECT_THAT(broker.names(reader),
              ElementsAre(together[3], together[4], together[5], together[2], together[0], together[1]));
}

TEST(OutputNames, DoNotDependOnHowAFrameIsPutTogether) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 2);
  broker.commit();
  const std::uint64_t lease = broker.lease();
  auto store = broker.store;
  broker.ack({{lease, 2}, {lease + 1, 2}});
  const auto usual = broker.names(reader);

  broker.store = store;
  broker.restart();
  broker.attach(worker, token(1), 1000, {});
  broker.attach(reader, token(2), 1000, {}, {}, "emails");
  broker.commit();
  v1::Frame frame;
  auto* settled = frame.mutable_settle()->add_runs();
  settled->set_lease(broker.lease());
  settled->set_count(2);
  settled->set_outcome(v1::ACK);
  for (const std::uint64_t offset : {1U, 0U, 1U, 0U}) {  // a group each, and no lease's stand together
    auto* group = frame.mutable_settle()->add_outputs();
    group->set_queue(2);
    group->mutable_index()->add_types("Mail");
    group->mutable_index()->add_lengths(4);
    group->add_source(broker.lease() + offset);
  }
  broker.say(worker, std::move(frame), "mailmailmailmail");
  broker.commit();

  EXPECT_THAT(broker.names(reader), ElementsAre(usual[2], usual[0], usual[3], usual[1]));
}

TEST(OutputNames, OfNeighboursAreNeighboursOneRunForAllOfThem) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 100);
  broker.commit();
  std::vector<std::pair<std::uint64_t, int>> each;
  for (std::uint64_t i = 0; i < 100; ++i) each.emplace_back(broker.lease() + i, 1);

  broker.ack(each);

  ASSERT_THAT(broker.deliveries(reader), SizeIs(1));
  EXPECT_EQ(broker.deliveries(reader)[0].index().names_size(), 1);
  EXPECT_EQ(broker.names(reader)[99].number, 100U);
}

TEST(OutputNames, OfAnAckThatIsStaleAreNobodyElses) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 4);
  broker.commit();
  const std::uint64_t lease = broker.lease();
  auto store = broker.store;
  broker.ack({{lease, 2}, {lease + 1, 1}, {lease + 2, 2}, {lease + 3, 1}});
  const auto all = broker.names(reader);

  broker.store = store;
  broker.restart();
  broker.attach(worker, token(1), 1000, {});
  broker.attach(reader, token(2), 1000, {}, {}, "emails");
  broker.commit();
  const std::uint64_t again = broker.lease();
  broker.settle(worker, again + 1, 1, v1::ACK);
  broker.commit();
  broker.ack({{again, 2}, {again + 1, 1}, {again + 2, 2}, {again + 3, 1}});

  EXPECT_THAT(broker.names(reader), ElementsAre(all[0], all[1], all[3], all[4], all[5]));
}

TEST(OutputNames, OfWhatWasRetriedOrCompactedAreAsOfWhatWasNot) {
  Shop broker;
  broker.open_publisher(publisher, 7);
  broker.publish(publisher, 1, 2);
  broker.commit();
  std::uint64_t lease = broker.lease();
  auto store = broker.store;
  broker.ack({{lease + 1, 1}});
  const auto first = broker.names(reader);

  broker.store = store;
  broker.config.compaction.freed_least = Bytes{0};
  broker.config.compaction.sparse = 2;
  broker.restart();
  broker.attach(worker, token(1), 1000, {});
  broker.attach(reader, token(2), 1000, {}, {}, "emails");
  broker.commit();
  lease = broker.lease();
  broker.settle(worker, lease, 1, v1::ACK);
  broker.settle(worker, lease + 1, 1, v1::RETRY, 0);
  broker.commit();
  broker.pass(1s);
  broker.ack({{broker.lease(), 1}});

  EXPECT_EQ(broker.names(reader), first);
}

TEST(OutputNames, ArePerQueuePriorityAndOrdinal) {
  const MessageName source = named(7, 5);
  std::set<MessageName> all;
  for (const char* queue : {"emails", "bills"}) {
    for (const Lane lane : {Lane{4}, Lane{9}}) {
      OutputNames names(queue, lane);
      for (std::uint32_t ordinal = 0; ordinal < 3; ++ordinal) {
        const MessageName name = names.of(source, ordinal);
        EXPECT_TRUE(all.insert(name).second) << queue << ' ' << ordinal;
        EXPECT_EQ(OutputNames(queue, lane).of(source, ordinal), name);
        EXPECT_NE(OutputNames(queue, lane).of(named(7, 6), ordinal), name);
        EXPECT_NE(OutputNames(queue, lane).of(named(8, 5), ordinal), name);
      }
    }
  }
}

}  // namespace
}  // namespace weir::broker::core::testing
