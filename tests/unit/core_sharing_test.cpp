// One worker of several queues: who is given the room in its window. And in which order one queue's messages go out.
#include <gtest/gtest.h>

#include <algorithm>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;

/// A worker that consumes all queues there are.
struct Queues : Broker {
  explicit Queues(std::uint32_t count, const QueuePolicy& policy = written_first()) : Broker(configs(count, policy)) {
    v1::Frame frame = publisher_hello();
    for (const auto& queue : config.queues) frame.mutable_hello()->add_publish_to(queue.name);
    say(publisher, std::move(frame));
    for (const auto& info : last(publisher).welcome().queues()) epoch = std::max(epoch, info.window().epoch());
  }
  static std::vector<QueueConfig> configs(std::uint32_t count, const QueuePolicy& policy) {
    std::vector<QueueConfig> all;
    for (std::uint32_t n = 1; n <= count; ++n) all.push_back({"queue" + std::to_string(n), policy});
    return all;
  }
  /// Each has a message that another worker ends at once, and leaves.
  void show_quickness() {
    constexpr Connection another = 7;
    v1::Frame hello = worker_hello(token(7), 10, 1, config.queues[0].name);
    for (std::size_t i = 1; i < config.queues.size(); ++i) {
      hello.mutable_hello()->add_attach()->set_queue(config.queues[i].name);
    }
    say(another, std::move(hello));
    commit();
    for (QueueId queue = 1; queue <= config.queues.size(); ++queue) {
      put(queue, 1);
      settle(another, deliveries(another).back().lease(), 1, v1::ACK);
    }
    commit();
    v1::Frame goodbye;
    goodbye.mutable_goodbye();
    say(another, std::move(goodbye));
    commit();
  }
  void put(QueueId queue, int count) {
    v1::Frame frame = publish_frame(next, count);
    frame.mutable_publish()->mutable_groups(0)->set_queue(queue);
    next += static_cast<std::uint64_t>(count);
    say(publisher, std::move(frame), std::string(10 * static_cast<std::size_t>(count), 'x'));
    commit();
  }
  void consume(std::uint64_t window) {
    v1::Frame frame = worker_hello(token(1), window, 1, config.queues[0].name);
    for (std::size_t i = 1; i < config.queues.size(); ++i) {
      frame.mutable_hello()->add_attach()->set_queue(config.queues[i].name);
    }
    say(worker, std::move(frame));
    commit();
  }
  std::uint64_t delivered_of(QueueId queue) {
    std::uint64_t n = 0;
    for (const auto& one : deliveries(worker)) {
      if (one.queue() == queue) n += static_cast<std::uint64_t>(one.index().lengths_size());
    }
    return n;
  }
  std::uint64_t next = 1;
};

TEST(Sharing, WhatAQueueLeavesGoesToTheOthersAtOnce) {
  Queues broker(2);
  broker.put(1, 10);
  broker.put(2, 1);
  broker.consume(4);
  ASSERT_EQ(broker.delivered_of(2), 1U);
  const std::uint64_t first = broker.delivered_of(1);
  for (const auto& one : broker.deliveries(worker)) {
    if (one.queue() == 2) broker.settle(worker, one.lease(), 1, v1::ACK);
  }

  EXPECT_GE(broker.delivered_of(1), first + 1);
  EXPECT_EQ(broker.delivered_of(1), 4U);  // the window is full
}

TEST(Sharing, EachQueueHasItsTurnThoughTheWindowHasNoRoomForAll) {
  Queues broker(3);
  for (QueueId queue = 1; queue <= 3; ++queue) broker.put(queue, 20);
  broker.consume(1);
  for (int i = 0; i < 11; ++i) {
    ASSERT_EQ(broker.delivered(worker), static_cast<std::uint64_t>(i) + 1);
    broker.settle(worker, broker.deliveries(worker).back().lease(), 1, v1::ACK);
  }

  for (QueueId queue = 1; queue <= 3; ++queue) EXPECT_EQ(broker.delivered_of(queue), 4U) << queue;
}

TEST(Sharing, OnlyQueuesThatHaveSomethingShare) {
  Queues broker(50);
  broker.put(1, 200);
  broker.put(2, 200);
  broker.consume(100);
  // The first that was asked may have had it all: the others waited for nothing then.
  for (int i = 0; i < 20; ++i) {
    for (const auto& one : broker.deliveries(worker)) {
      broker.settle(worker, one.lease(), static_cast<std::uint32_t>(one.index().lengths_size()), v1::ACK);
      if (broker.delivered(worker) > 250) break;
    }
    if (broker.delivered(worker) > 250) break;
  }

  v1::Workers workers;
  broker.core->list_workers(broker.now, workers);
  EXPECT_GE(workers.workers(0).held_messages(), 99U);
  EXPECT_GT(broker.delivered_of(2), 20U);
}

TEST(Sharing, WhatASettlementFreesGoesOutInOneFrameHoweverManyQueuesItIsOf) {
  Queues broker(40);
  for (QueueId queue = 1; queue <= 40; ++queue) broker.put(queue, 20);
  broker.consume(80);
  ASSERT_EQ(broker.delivered(worker), 80U);
  const auto frames = [&] {
    return std::ranges::count_if(broker.inbox[worker], [](const v1::Frame& frame) { return frame.has_deliver(); });
  };
  const auto before = frames();
  v1::Frame frame;
  for (const auto& one : broker.deliveries(worker)) {
    auto* run = frame.mutable_settle()->add_runs();
    run->set_lease(one.lease());
    run->set_count(static_cast<std::uint32_t>(one.index().lengths_size()));
    run->set_outcome(v1::ACK);
  }
  broker.say(worker, std::move(frame));

  EXPECT_EQ(broker.delivered(worker), 160U);
  EXPECT_EQ(frames(), before + 1);
  for (QueueId queue = 1; queue <= 40; ++queue) EXPECT_EQ(broker.delivered_of(queue), 4U) << queue;
}

TEST(Sharing, SlowQueuesDoNotTakeWhatIsTheShareOfAQuickOne) {
  Queues broker(3);
  for (QueueId queue = 1; queue <= 3; ++queue) broker.put(queue, 100);
  broker.consume(4);
  std::size_t seen = 0;
  for (int i = 0; i < 50; ++i) {  // queue 3 answers at once, the others never
    const auto all = broker.deliveries(worker);
    for (; seen < all.size(); ++seen) {
      if (all[seen].queue() == 3) {
        broker.settle(worker, all[seen].lease(), static_cast<std::uint32_t>(all[seen].index().lengths_size()), v1::ACK);
      }
    }
  }

  EXPECT_GE(broker.delivered_of(3), 50U);
}

TEST(Sharing, QueuesThatAreThrottledHaveNoShare) {
  Queues broker(100);
  for (QueueId queue = 3; queue <= 100; ++queue) broker.put(queue, 2);
  broker.consume(400);
  v1::Frame frame;
  for (const auto& one : broker.deliveries(worker)) {
    auto* run = frame.mutable_settle()->add_runs();
    run->set_lease(one.lease());
    run->set_count(1);
    run->set_outcome(v1::THROTTLED);
    run->set_delay_us(3'600'000'000ULL);
    run = frame.mutable_settle()->add_runs();
    run->set_lease(one.lease() + 1);
    run->set_count(1);
    run->set_outcome(v1::RELEASE);
  }
  broker.say(worker, std::move(frame));
  broker.commit();
  for (int i = 0; i < 4; ++i) {
    for (QueueId queue = 1; queue <= 2; ++queue) broker.put(queue, 200);
  }
  broker.pass(2s);

  v1::Workers workers;
  broker.core->list_workers(broker.now, workers);
  EXPECT_EQ(workers.workers(0).held_messages(), 400U);
}

TEST(Sharing, WhatSharesLeaveFreeIsGivenWithinASecondThoughNobodySettles) {
  Queues broker(40);
  for (QueueId queue = 1; queue <= 40; ++queue) broker.put(queue, queue <= 2 ? 100 : 1);
  broker.consume(80);
  broker.pass(2s);

  EXPECT_EQ(broker.delivered(worker), 80U);
}

// Of 128 queues each has 5 of a window of 640, and a lot is 10.

TEST(Lots, AQueueWhoseMessagesEndSoonHasMoreThanItsShare) {
  Queues broker(128, QueuePolicy{});
  broker.show_quickness();
  for (QueueId queue = 1; queue <= 128; ++queue) broker.put(queue, 20);
  broker.consume(640);

  EXPECT_EQ(broker.delivered_of(1), 10U);
  EXPECT_EQ(broker.delivered(worker), 640U);
}

TEST(Lots, ThoseThatGetStuckLeaveRoomForTheOthers) {
  Queues broker(128, QueuePolicy{});
  broker.show_quickness();
  for (QueueId queue = 1; queue <= 128; ++queue) broker.put(queue, 20);
  broker.consume(640);
  std::set<std::uint64_t> first;
  for (const auto& one : broker.deliveries(worker)) {
    if (broker.delivered_of(static_cast<QueueId>(one.queue())) > 5) first.insert(one.queue());
  }
  ASSERT_LE(first.size(), 56U);

  // Whoever has a lot now never ends; all others end at once.
  std::size_t seen = 0;
  for (int i = 0; i < 200; ++i) {
    const auto all = broker.deliveries(worker);
    for (; seen < all.size(); ++seen) {
      if (first.contains(all[seen].queue())) continue;
      broker.settle(worker, all[seen].lease(), static_cast<std::uint32_t>(all[seen].index().lengths_size()), v1::ACK);
    }
  }

  for (QueueId queue = 1; queue <= 128; ++queue) {
    if (first.contains(queue)) continue;
    EXPECT_EQ(broker.delivered_of(queue), 20U) << queue;
  }
}

TEST(Lots, AQueueOfWhichNothingHasEndedHasItsShare) {
  Queues broker(128, QueuePolicy{});
  for (QueueId queue = 1; queue <= 128; ++queue) broker.put(queue, 20);
  broker.consume(640);

  for (QueueId queue = 1; queue <= 128; ++queue) EXPECT_EQ(broker.delivered_of(queue), 5U) << queue;
}

TEST(Lots, AReconnectLeavesThoseThatAreStuckNoMore) {
  Queues broker(128, QueuePolicy{});
  broker.show_quickness();
  for (QueueId queue = 1; queue <= 128; ++queue) broker.put(queue, 20);
  broker.consume(640);
  const auto held = broker.deliveries(worker);
  constexpr Connection anew = 8;
  v1::Frame hello = Broker::worker_hello(token(1), 640, 2, "queue1");
  for (std::size_t i = 1; i < broker.config.queues.size(); ++i) {
    hello.mutable_hello()->add_attach()->set_queue(broker.config.queues[i].name);
  }
  std::set<std::uint32_t> stuck;
  for (const auto& one : held) {
    if (broker.delivered_of(one.queue()) <= 5) continue;
    stuck.insert(one.queue());
    *hello.mutable_hello()->add_held() = broker.claim_of(one, 1);
  }
  broker.say(anew, std::move(hello));
  broker.commit();

  std::map<std::uint32_t, std::uint64_t> more;
  for (const auto& one : broker.deliveries(anew))
    more[one.queue()] += static_cast<std::uint64_t>(one.index().lengths_size());
  for (const auto& [queue, count] : more) EXPECT_TRUE(!stuck.contains(queue) && count <= 5) << queue << ' ' << count;
}

TEST(Lots, AQueueWhoseMessagesTakeLongHasItsShare) {
  Queues broker(128, QueuePolicy{});
  broker.show_quickness();
  for (int i = 0; i < 12; ++i) {
    for (QueueId queue = 1; queue <= 128; ++queue) broker.put(queue, 20);
  }
  broker.consume(640);
  // Each message takes 20 ms.
  std::size_t seen = 0;
  for (int round = 0; round < 40; ++round) {
    broker.pass(20ms);
    const auto all = broker.deliveries(worker);
    v1::Frame frame;
    for (const std::size_t end = all.size(); seen < end; ++seen) {
      auto* run = frame.mutable_settle()->add_runs();
      run->set_lease(all[seen].lease());
      run->set_count(static_cast<std::uint32_t>(all[seen].index().lengths_size()));
      run->set_outcome(v1::ACK);
    }
    broker.say(worker, std::move(frame));
    broker.commit();
  }

  std::map<std::uint32_t, std::uint64_t> held;
  const auto all = broker.deliveries(worker);
  for (; seen < all.size(); ++seen)
    held[all[seen].queue()] += static_cast<std::uint64_t>(all[seen].index().lengths_size());
  for (const auto& [queue, count] : held) EXPECT_LE(count, 5U) << queue;
}

TEST(Lots, AQueueWithRetriesThatAreDueHasItsShare) {
  Queues broker(128, QueuePolicy{});
  broker.show_quickness();
  broker.put(1, 20);
  broker.consume(640);
  v1::Frame retries;
  for (const auto& one : broker.deliveries(worker)) {
    auto* run = retries.mutable_settle()->add_runs();
    run->set_lease(one.lease());
    run->set_count(static_cast<std::uint32_t>(one.index().lengths_size()));
    run->set_outcome(v1::RETRY);
    run->set_delay_us(1);
  }
  std::size_t seen = broker.deliveries(worker).size();
  for (int i = 0; i < 20; ++i) {
    for (QueueId queue = 2; queue <= 128; ++queue) broker.put(queue, 20);
  }
  broker.say(worker, std::move(retries));
  broker.commit();
  broker.pass(10ms);
  // What the others hold ends again and again; what was retried gets stuck.
  for (int round = 0; round < 20; ++round) {
    const auto all = broker.deliveries(worker);
    for (const std::size_t end = all.size(); seen < end; ++seen) {
      if (all[seen].queue() == 1) continue;
      broker.settle(worker, all[seen].lease(), static_cast<std::uint32_t>(all[seen].index().lengths_size()), v1::ACK);
    }
  }

  EXPECT_EQ(broker.delivered_of(1), 20U + 5U);
}

// A place says when the broker took its message: segments and indexes rise.
TEST(Order, WithinALaneMessagesGoOutAsTheBrokerTookThemAndTheHigherLaneFirst) {
  Broker broker;
  constexpr Connection second = 3;
  broker.open_publisher(publisher, 7);
  broker.open_publisher(second, 8);
  const auto publish = [&](Connection from, std::uint64_t number, std::uint32_t priority) {
    v1::Frame frame = broker.publish_frame(number, 3);
    frame.mutable_publish()->mutable_groups(0)->set_priority(priority);
    broker.say(from, std::move(frame), std::string(30, 'x'));
  };
  for (std::uint64_t n = 0; n < 20; ++n) {
    publish(publisher, 1 + 3 * n, n % 4 == 3 ? 7 : 4);
    publish(second, 1 + 3 * n, 4);
    if (n % 3 == 2) broker.commit();
  }
  broker.commit();

  broker.attach(worker, token(1), 7);
  broker.commit();
  std::vector<std::pair<std::uint64_t, std::uint32_t>> places;
  for (std::size_t seen = 0; seen < broker.deliveries(worker).size(); ++seen) {
    const auto one = broker.deliveries(worker)[seen];
    const auto count = static_cast<std::uint32_t>(one.index().lengths_size());
    for (std::uint32_t i = 0; i < count; ++i) places.emplace_back(one.segment(), one.first() + i);
    broker.settle(worker, one.lease(), count, v1::ACK);
    broker.commit();
  }

  ASSERT_EQ(places.size(), 120U);
  EXPECT_TRUE(std::is_sorted(places.begin(), places.begin() + 15));  // five frames of priority 7
  EXPECT_TRUE(std::is_sorted(places.begin() + 15, places.end()));
  EXPECT_GT(places[14], places[15]);
}

TEST(Order, NothingOvertakesWhatIsTooLargeForWhatIsLeftOfTheWindow) {
  QueuePolicy policy;
  policy.ahead = false;
  Broker broker({{"orders", policy}});
  broker.open_publisher(publisher);
  // A segment each, of two messages, of which the worker knows the second.
  std::uint64_t number = 1;
  for (const std::uint32_t bytes : {60U, 60U, 10U}) {
    v1::Frame frame = broker.publish_frame(number, 2, 0, "other.Type");
    auto& index = *frame.mutable_publish()->mutable_groups(0)->mutable_index();
    index.add_types("its.Type");
    index.add_type_of(0);
    index.add_type_of(1);
    index.set_lengths(1, bytes);
    broker.say(publisher, std::move(frame), std::string(10 + bytes, 'x'));
    broker.commit();
    number += 2;
  }
  v1::Frame hello = Broker::worker_hello(token(1), 100, 1, "orders");
  hello.mutable_hello()->mutable_attach(0)->add_types("its.Type");
  hello.mutable_hello()->mutable_window()->set_bytes(100);
  broker.say(worker, std::move(hello));
  broker.commit();
  ASSERT_EQ(broker.delivered(worker), 1U);  // the third would fit

  broker.settle(worker, broker.deliveries(worker).back().lease(), 1, v1::ACK);
  broker.commit();

  ASSERT_EQ(broker.delivered(worker), 3U);
  EXPECT_EQ(broker.deliveries(worker)[1].segment() + 1, broker.deliveries(worker)[2].segment());
}

}  // namespace
}  // namespace weir::broker::core::testing
