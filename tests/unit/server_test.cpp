// The whole broker, over real sockets and a real store, in a thread.
#include "weir/broker/server.hpp"

#include <gmock/gmock.h>
#include <sys/mount.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "raw_client.hpp"
#include "store_fixture.hpp"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

/// A server and the thread that runs it.
class Running {
 public:
  Running(BrokerSettings settings, std::vector<core::QueueConfig> queues)
      : server_(std::move(settings), std::move(queues)), thread_([this] { exit_code_ = server_.run(); }) {}
  ~Running() { stop(); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  [[nodiscard]] const std::string& url() const { return server_.url(); }
  int stop() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
    return exit_code_;
  }

 private:
  Server server_;
  int exit_code_ = -1;
  std::thread thread_;
};

class Broker : public StoreTest {
 protected:
  [[nodiscard]] BrokerSettings broker_settings() const {
    BrokerSettings settings;
    settings.data = folder_ / "data";
    settings.listen = "127.0.0.1:0";
    settings.reserve = Bytes{1024 * 1024};
    return settings;
  }
  static std::vector<core::QueueConfig> queues() {
    core::QueueConfig orders{"orders", {}};
    orders.policy.backoff.first = 1ms;
    orders.policy.attempts = 2;
    return {orders};
  }
  std::unique_ptr<Running> start() { return std::make_unique<Running>(broker_settings(), queues()); }
};

std::string body_of(const std::string& payload) {
  std::string body;
  protocol::append_body(payload, body);
  return body;
}

void publish(RawClient& client, const v1::Welcome& welcome, std::uint64_t first,
             const std::vector<std::string>& texts) {
  v1::Frame frame;
  v1::Group& group = *frame.mutable_publish()->add_groups();
  group.set_queue(welcome.queues(0).id());
  group.set_epoch(welcome.queues(0).window().epoch());
  group.set_first_number(first);
  group.mutable_index()->add_types("t.T");
  std::string run;
  for (const std::string& text : texts) {
    const std::string body = body_of(text);
    group.mutable_index()->add_lengths(static_cast<std::uint32_t>(body.size()));
    run += body;
  }
  frame.mutable_publish()->set_answered_below(first);
  client.send(frame, run);
}

void settle(RawClient& client, std::uint64_t lease, std::uint32_t count, v1::Outcome outcome,
            const std::string& error = {}) {
  v1::Frame frame;
  auto& run = *frame.mutable_settle()->add_runs();
  run.set_lease(lease);
  run.set_count(count);
  run.set_outcome(outcome);
  run.set_error(error);
  client.send(frame);
}

/// The next frame of a kind; others in between are passed over.
template <class Is>
v1::Frame next(RawClient& client, Is is) {
  for (int i = 0; i < 1000; ++i) {
    v1::Frame frame = client.receive();
    if (is(frame) || frame.body_case() == v1::Frame::BODY_NOT_SET || frame.has_error()) return frame;
  }
  return {};
}
v1::Frame next_delivery(RawClient& client) {
  return next(client, [](const v1::Frame& frame) { return frame.has_deliver(); });
}
v1::Frame next_confirmed(RawClient& client) {
  return next(client, [](const v1::Frame& frame) { return frame.has_confirmed(); });
}
v1::Frame next_settled(RawClient& client) {
  return next(client, [](const v1::Frame& frame) { return frame.has_settled(); });
}

v1::Queues::Queue look(RawClient& operator_) {
  v1::ControlRequest request;
  request.mutable_list_queues();
  const v1::ControlReply reply = operator_.ask(request);
  EXPECT_EQ(reply.queues().queues_size(), 1);
  return reply.queues().queues_size() == 1 ? reply.queues().queues(0) : v1::Queues::Queue{};
}

TEST_F(Broker, AMessageIsConfirmedDeliveredAndSettled) {
  const auto broker = start();
  RawClient publisher(broker->url());
  RawClient worker(broker->url());
  RawClient watcher(broker->url());
  const v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  worker.hello_worker('w', "orders");
  watcher.hello_control();

  publish(publisher, welcome, 1, {"one", "two", "three"});

  const v1::Frame confirmed = next_confirmed(publisher);
  ASSERT_EQ(confirmed.confirmed().runs_size(), 1);
  EXPECT_EQ(confirmed.confirmed().runs(0).first(), 1U);
  EXPECT_EQ(confirmed.confirmed().runs(0).count(), 3U);
  const v1::Frame delivered = next_delivery(worker);
  ASSERT_EQ(delivered.deliver().deliveries_size(), 1);
  const v1::Delivery& delivery = delivered.deliver().deliveries(0);
  EXPECT_EQ(worker.run(), body_of("one") + body_of("two") + body_of("three"));
  EXPECT_EQ(delivery.segment(), confirmed.confirmed().runs(0).segment());
  EXPECT_EQ(delivery.attempt(), 1U);
  EXPECT_GT(delivery.published_at_us(), 0);
  EXPECT_THAT(delivery.index().types(), ElementsAre("t.T"));
  EXPECT_EQ(look(watcher).leased(), 3U);
  settle(worker, delivery.lease(), 3, v1::ACK);
  const v1::Frame settled = next_settled(worker);
  ASSERT_EQ(settled.settled().frames_size(), 1);
  const auto queue = look(watcher);
  EXPECT_EQ(queue.acked(), 3U);
  EXPECT_EQ(queue.ready() + queue.leased() + queue.delayed(), 0U);
  EXPECT_EQ(broker->stop(), 0);
}

TEST_F(Broker, AQueueThatWritesFirstDeliversWhatIsOnDisk) {
  std::vector<core::QueueConfig> writes_first = queues();
  writes_first.front().policy.ahead = false;
  Running broker(broker_settings(), std::move(writes_first));
  RawClient publisher(broker.url());
  RawClient worker(broker.url());
  const v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  worker.hello_worker('w', "orders");

  publish(publisher, welcome, 1, {"one"});

  const v1::Frame confirmed = next_confirmed(publisher);
  ASSERT_EQ(confirmed.confirmed().runs_size(), 1);
  const v1::Frame delivered = next_delivery(worker);
  ASSERT_EQ(delivered.deliver().deliveries_size(), 1);
  EXPECT_EQ(delivered.deliver().deliveries(0).segment(), confirmed.confirmed().runs(0).segment());
  EXPECT_EQ(worker.run(), body_of("one"));
}

TEST_F(Broker, ASmallWindowGetsSlicesOfASegment) {
  const auto broker = start();
  RawClient publisher(broker->url());
  RawClient worker(broker->url());
  publish(publisher, publisher.hello_publisher('p', "orders"), 1, {"a", "bb", "ccc", "dddd", "eeeee"});
  next_confirmed(publisher);

  worker.hello_worker('w', "orders", 2);

  std::string got;
  for (std::size_t messages = 0; messages < 5;) {
    const v1::Frame frame = next_delivery(worker);
    ASSERT_EQ(frame.deliver().deliveries_size(), 1);
    const v1::Delivery& delivery = frame.deliver().deliveries(0);
    EXPECT_EQ(delivery.first(), messages);
    EXPECT_LE(delivery.index().lengths_size(), 2);
    got += worker.run();
    messages += static_cast<std::size_t>(delivery.index().lengths_size());
    settle(worker, delivery.lease(), static_cast<std::uint32_t>(delivery.index().lengths_size()), v1::ACK);
  }
  EXPECT_EQ(got, body_of("a") + body_of("bb") + body_of("ccc") + body_of("dddd") + body_of("eeeee"));
}

TEST_F(Broker, WhatWasConfirmedIsThereAfterARestart) {
  {
    const auto broker = start();
    RawClient publisher(broker->url());
    publish(publisher, publisher.hello_publisher('p', "orders"), 1, {"kept"});
    next_confirmed(publisher);
    EXPECT_EQ(broker->stop(), 0);
  }
  const auto broker = start();
  RawClient worker(broker->url());

  const v1::Welcome welcome = worker.hello_worker('w', "orders");

  EXPECT_EQ(welcome.incarnation(), 2U);
  next_delivery(worker);
  EXPECT_EQ(worker.run(), body_of("kept"));
}

TEST_F(Broker, StoppingConfirmsWhatItTook) {
  auto broker = start();
  RawClient publisher(broker->url());
  const v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  for (std::uint64_t i = 1; i <= 50; ++i) publish(publisher, welcome, i, {"x"});
  next_confirmed(publisher);  // so some of them were taken

  EXPECT_EQ(broker->stop(), 0);
  broker.reset();

  const auto again = start();
  RawClient returning(again->url());
  EXPECT_GE(returning.hello_publisher('p', "orders", 1).publisher_mark(), 1U);
}

TEST_F(Broker, AFailedMessageIsRetriedThenDeadAndCanBeShownReplayedAndPurged) {
  const auto broker = start();
  RawClient publisher(broker->url());
  RawClient worker(broker->url());
  RawClient watcher(broker->url());
  publish(publisher, publisher.hello_publisher('p', "orders"), 1, {"bad"});
  worker.hello_worker('w', "orders");
  watcher.hello_control();
  settle(worker, next_delivery(worker).deliver().deliveries(0).lease(), 1, v1::RETRY, "first");

  const v1::Frame second = next_delivery(worker);
  EXPECT_EQ(second.deliver().deliveries(0).attempt(), 2U);
  EXPECT_EQ(worker.run(), body_of("bad"));
  settle(worker, second.deliver().deliveries(0).lease(), 1, v1::RETRY, "second");
  next_settled(worker);

  v1::ControlRequest list;
  list.mutable_list_dead()->set_queue("orders");
  const v1::ControlReply dead = watcher.ask(list);
  ASSERT_EQ(dead.dead_list().dead_size(), 1) << dead.ShortDebugString();
  const v1::DeadSummary& summary = dead.dead_list().dead(0);
  EXPECT_THAT(summary.id(), HasSubstr("orders/"));
  EXPECT_EQ(summary.attempts(), 2U);
  EXPECT_EQ(summary.last_error(), "second");
  EXPECT_EQ(summary.type(), "t.T");
  v1::ControlRequest show;
  show.mutable_show_dead()->set_queue("orders");
  show.mutable_show_dead()->set_id(summary.id());
  EXPECT_EQ(watcher.ask(show).dead_letter().payload(), "");
  show.mutable_show_dead()->set_with_payload(true);
  const v1::DeadLetter letter = watcher.ask(show).dead_letter();
  EXPECT_EQ(letter.payload(), "bad");
  ASSERT_EQ(letter.history_size(), 2);
  EXPECT_EQ(letter.history(0).error(), "first");
  EXPECT_THAT(letter.history(1).worker(), HasSubstr("group"));

  v1::ControlRequest replay;
  replay.mutable_replay_dead()->set_queue("orders");
  replay.mutable_replay_dead()->add_ids(summary.id());
  EXPECT_EQ(watcher.ask(replay).count().messages(), 1U);
  const v1::Frame replayed = next_delivery(worker);
  EXPECT_EQ(replayed.deliver().deliveries(0).attempt(), 1U);
  EXPECT_EQ(worker.run(), body_of("bad"));
  settle(worker, replayed.deliver().deliveries(0).lease(), 1, v1::REJECT, "never");
  next_settled(worker);

  v1::ControlRequest purge;
  purge.mutable_purge_dead()->set_queue("orders");
  purge.mutable_purge_dead()->set_all(true);
  EXPECT_EQ(watcher.ask(purge).count().messages(), 1U);
  EXPECT_EQ(watcher.ask(purge).count().messages(), 0U);
  EXPECT_THAT(watcher.ask(replay).error(), HasSubstr("no dead letter " + summary.id() + " in queue 'orders'"));
  EXPECT_EQ(look(watcher).dead(), 0U);
}

TEST_F(Broker, AllDeadLettersAreListedInPagesAndReplayedWithOneTotal) {
  constexpr std::size_t messages = 2'500;
  const auto broker = start();
  RawClient publisher(broker->url());
  RawClient worker(broker->url());
  RawClient watcher(broker->url());
  const v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  for (std::size_t i = 0; i < messages; i += 250)
    publish(publisher, welcome, i + 1, std::vector<std::string>(250, "x"));
  worker.hello_worker('w', "orders", messages);
  watcher.hello_control();
  std::uint64_t settles = 0;  // less those that are on disk
  for (std::size_t rejected = 0; rejected < messages || settles > 0;) {
    const v1::Frame frame = worker.receive();
    ASSERT_NE(frame.body_case(), v1::Frame::BODY_NOT_SET);
    for (const auto& range : frame.settled().frames()) settles -= range.last() - range.first() + 1;
    for (const auto& delivery : frame.deliver().deliveries()) {
      const auto count = static_cast<std::uint32_t>(delivery.index().lengths_size());
      settle(worker, delivery.lease(), count, v1::REJECT, "no");
      ++settles;
      rejected += count;
    }
  }
  EXPECT_EQ(look(watcher).dead(), messages);

  v1::ControlRequest list;
  list.mutable_list_dead()->set_queue("orders");
  list.mutable_list_dead()->set_most(1'000);
  std::vector<int> pages;
  do {
    const v1::ControlReply reply = watcher.ask(list);
    pages.push_back(reply.dead_list().dead_size());
    list.mutable_list_dead()->set_after(reply.dead_list().next());
  } while (!list.list_dead().after().empty());
  EXPECT_THAT(pages, ElementsAre(1'000, 1'000, 500));

  v1::ControlRequest replay;
  replay.mutable_replay_dead()->set_queue("orders");
  replay.mutable_replay_dead()->set_all(true);
  EXPECT_EQ(watcher.ask(replay).count().messages(), messages);
  EXPECT_EQ(look(watcher).dead(), 0U);
}

TEST_F(Broker, WorkersAreListedAndOneThatIsGoneIsNotConnected) {
  BrokerSettings settings = broker_settings();
  settings.session_timeout = 4s;
  Running broker(settings, queues());
  RawClient watcher(broker.url());
  watcher.hello_control();
  v1::ControlRequest list;
  list.mutable_list_workers();
  {
    RawClient worker(broker.url());
    worker.hello_worker('w', "orders", 7);
    const v1::ControlReply reply = watcher.ask(list);
    ASSERT_EQ(reply.workers().workers_size(), 1);
    EXPECT_EQ(reply.workers().workers(0).group(), "group");
    EXPECT_TRUE(reply.workers().workers(0).connected());
    EXPECT_EQ(reply.workers().workers(0).window_messages(), 7U);
  }

  // The next BEAT cannot be sent.
  const auto until = std::chrono::steady_clock::now() + 10s;
  bool connected = true;
  while (connected && std::chrono::steady_clock::now() < until) {
    const v1::ControlReply reply = watcher.ask(list);
    connected = reply.workers().workers_size() > 0 && reply.workers().workers(0).connected();
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_FALSE(connected);
}

TEST_F(Broker, BadFramesAreAnsweredAndOthersGoOn) {
  const auto broker = start();
  RawClient publisher(broker->url());
  const v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  {
    RawClient stranger(broker->url());
    stranger.send_bytes("\xff\xff garbage");
    const v1::Frame answer = stranger.receive();
    EXPECT_EQ(answer.number(), 0U);
    EXPECT_EQ(answer.error().code(), v1::Error::MALFORMED);
    EXPECT_TRUE(answer.error().fatal());
    EXPECT_THAT(answer.error().message(), HasSubstr("is not a weir.v1.Frame"));
  }
  {
    RawClient stranger(broker->url());
    stranger.send_bytes("one", true);
    stranger.send_bytes("two");
    EXPECT_THAT(stranger.receive().error().message(), HasSubstr("a message of 2 frames; it must be exactly one"));
  }
  {
    RawClient stranger(broker->url());
    v1::Frame early;
    early.mutable_publish();
    stranger.send(early);
    EXPECT_EQ(stranger.receive().error().code(), v1::Error::OUT_OF_SEQUENCE);
  }
  {
    RawClient stranger(broker->url());
    v1::Frame wrong;
    wrong.mutable_hello()->set_magic(protocol::magic);
    wrong.mutable_hello()->set_version_lowest(8);
    wrong.mutable_hello()->set_version_highest(9);
    wrong.mutable_hello()->set_kind(v1::CONTROL);
    stranger.send(wrong);
    EXPECT_EQ(stranger.receive().error().code(), v1::Error::WRONG_VERSION);
  }

  publish(publisher, welcome, 1, {"still here"});

  EXPECT_TRUE(next_confirmed(publisher).has_confirmed());
}

TEST_F(Broker, AFrameOverTheLimitEndsItsConnectionAlone) {
  BrokerSettings settings = broker_settings();
  settings.message_most = Bytes{100'000};
  Running broker(settings, queues());
  RawClient publisher(broker.url());
  const v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  RawClient large(broker.url());
  const v1::Welcome its = large.hello_publisher('q', "orders");

  publish(large, its, 1, {std::string(2'000'000, 'x')});
  publish(publisher, welcome, 1, {std::string(99'000, 'x')});

  EXPECT_TRUE(next_confirmed(publisher).has_confirmed());
}

TEST_F(Broker, WrongRequestsAreAnsweredWithWords) {
  const auto broker = start();
  RawClient watcher(broker->url());
  watcher.hello_control();
  v1::ControlRequest request;

  request.mutable_list_dead()->set_queue("odrers");
  EXPECT_EQ(watcher.ask(request).error(), "unknown queue 'odrers'; this broker has orders");
  request.mutable_show_dead()->set_queue("orders");
  request.mutable_show_dead()->set_id("17");
  EXPECT_EQ(watcher.ask(request).error(), "'17' is no message id; one looks like orders/4f2a1.17");
  request.mutable_show_dead()->set_id("emails/1.1");
  EXPECT_EQ(watcher.ask(request).error(), "message emails/1.1 is of queue 'emails', not of 'orders'");
  request.mutable_purge_dead()->set_queue("orders");
  EXPECT_THAT(watcher.ask(request).error(), HasSubstr("neither ids nor `all`"));
  request.mutable_purge_dead()->add_ids("orders/1.1");
  EXPECT_THAT(watcher.ask(request).error(), HasSubstr("never dead; nothing was done"));
  EXPECT_THAT(watcher.ask({}).error(), HasSubstr("does not know that request"));
}

std::string why_no_start(const BrokerSettings& settings) {
  try {
    Server server(settings, {});
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST_F(Broker, AnAddressThatCannotBeListenedOnSaysWhy) {
  BrokerSettings settings = broker_settings();
  for (const char* off : {"0.0.0.0:7733", "192.168.1.5:7733", "*:7733", "[::]:7733", "example.org:7733"}) {
    settings.listen = off;
    EXPECT_THAT(why_no_start(settings), AllOf(HasSubstr("is not loopback: that needs keys, which this version does not "
                                                        "have; listen on 127.0.0.1"),
                                              HasSubstr(off)));
  }
  settings.listen = "7733";
  EXPECT_THAT(why_no_start(settings), HasSubstr("is not HOST:PORT, such as 127.0.0.1:7733"));
  settings.listen = "127.0.0.1:77330";
  EXPECT_THAT(why_no_start(settings), HasSubstr("is not HOST:PORT"));
}

TEST_F(Broker, APortInUseIsNamedAndCostsNoIncarnation) {
  const auto broker = start();
  BrokerSettings other = broker_settings();
  other.data = folder_ / "other";
  other.listen = broker->url().substr(7);

  EXPECT_THAT(why_no_start(other), AllOf(HasSubstr("cannot listen on " + other.listen + ": the port is in use"),
                                         HasSubstr("broker.listen")));
  EXPECT_THAT(why_no_start(broker_settings()), HasSubstr("is in use by another broker"));

  LmdbStore store({.data = other.data});
  EXPECT_EQ(store.recover().incarnation, 1U);
}

TEST_F(Broker, AMessageLimitBeyondTheHighestIsRefused) {
  BrokerSettings settings = broker_settings();
  settings.message_most = Bytes{129ULL << 20};

  EXPECT_THAT(why_no_start(settings), HasSubstr("at most 128 MiB"));
}

TEST_F(Broker, OnAFullDiskPublishingWaitsSettlingGoesOnAndItRecovers) {
  if (::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=24m") != 0) {
    GTEST_SKIP() << "needs root and mount(2): " << std::strerror(errno);
  }
  struct Unmount {
    std::string at;
    ~Unmount() { ::umount2(at.c_str(), MNT_DETACH); }
  } const unmount{folder_.string()};
  BrokerSettings settings = broker_settings();
  settings.reserve = Bytes{4 * 1024 * 1024};
  Running broker(settings, queues());
  RawClient publisher(broker.url());
  RawClient watcher(broker.url());
  watcher.hello_control();
  v1::Welcome welcome = publisher.hello_publisher('p', "orders");
  const std::vector<std::string> group(64, std::string(900, 'x'));

  // Publish until the window closes or the broker refuses.
  std::uint64_t published = 0;
  std::uint64_t confirmed = 0;
  for (bool open = true; open && published < 40'000;) {
    publish(publisher, welcome, published + 1, group);
    published += group.size();
    for (std::uint64_t answered = 0; answered < group.size();) {
      const v1::Frame frame = publisher.receive();
      ASSERT_NE(frame.body_case(), v1::Frame::BODY_NOT_SET);
      if (frame.has_window()) {
        *welcome.mutable_queues(0)->mutable_window() = frame.window();
        open = frame.window().messages() >= group.size();
      }
      for (const auto& run : frame.confirmed().runs()) {
        answered += run.count();
        if (run.answer() == v1::Confirmed::CONFIRMED) {
          confirmed += run.count();
        } else {
          open = false;
          EXPECT_THAT(run.reason(), HasSubstr("room"));
        }
      }
    }
  }
  EXPECT_GT(confirmed, 5'000U);
  EXPECT_LT(published, 40'000U);
  EXPECT_EQ(look(watcher).ready(), confirmed);
  std::ofstream(folder_ / "foreign") << std::string(32 << 20, 'f');

  RawClient worker(broker.url());
  worker.hello_worker('w', "orders", 1'000);
  for (std::uint64_t acked = 0; acked < confirmed;) {
    const v1::Frame frame = next_delivery(worker);
    ASSERT_TRUE(frame.has_deliver()) << frame.ShortDebugString();
    for (const auto& delivery : frame.deliver().deliveries()) {
      const auto count = static_cast<std::uint32_t>(delivery.index().lengths_size());
      settle(worker, delivery.lease(), count, v1::ACK);
      acked += count;
    }
  }
  while (look(watcher).acked() < confirmed) std::this_thread::yield();

  // There is room again, inside the store's own file: the window opens.
  const v1::Frame window =
      next(publisher, [](const v1::Frame& frame) { return frame.has_window() && frame.window().messages() >= 64; });
  ASSERT_TRUE(window.has_window());
  *welcome.mutable_queues(0)->mutable_window() = window.window();
  publish(publisher, welcome, published + 1, group);
  const v1::Frame last = next_confirmed(publisher);
  ASSERT_EQ(last.confirmed().runs_size(), 1);
  EXPECT_EQ(last.confirmed().runs(0).answer(), v1::Confirmed::CONFIRMED);
  EXPECT_EQ(broker.stop(), 0);
}

}  // namespace
}  // namespace weir::broker
