// What the worst frame of each kind costs the loop in one turn, in CPU of its thread; what takes longer goes on in
// later turns, and others are served between.
#include "core_harness.hpp"
#include "cpu_time.hpp"

namespace weir::broker::core::testing {
namespace {

using testing_cost::cpu_ms;
using testing_cost::turn_most_ms;

constexpr Connection one_worker = 2;
constexpr Connection neighbour = 9;

/// A broker whose calls are timed: no call may cost more than a turn may.
struct Timed : Broker {
  template <class... Arguments>
  explicit Timed(Arguments&&... arguments) : Broker(std::forward<Arguments>(arguments)...) {
    testing_cost::warm_memory();
  }

  template <class Call>
  double timed(Call call) {
    Actions actions;
    const double ms = cpu_ms([&] { call(actions); });
    carry_out(actions);
    worst_ms = std::max(worst_ms, ms);
    return ms;
  }
  void say_timed(Connection from, v1::Frame frame, const std::string& run = {}) {
    frame.set_number(++frames_out[from]);
    const Slice bytes = Slice::of(std::string(run));
    timed([&](Actions& actions) { core->frame(now, from, frame, bytes, actions); });
  }
  /// Goes on with what is left, commits between, and sees that somebody else is answered meanwhile. The turns it took.
  int go_on() {
    int turns = 0;
    while (core->has_work() || core->wants_commit()) {
      ++turns;
      if (core->has_work()) {
        timed([&](Actions& actions) { core->go_on(now, actions); });
      }
      if (!sealed && core->wants_commit()) {
        timed([&](Actions&) { sealed = core->seal(now); });
        store.commit(*sealed);
        sealed.reset();
        timed([&](Actions& actions) { core->committed(now, actions); });
      }
    }
    return turns;
  }
  double worst_ms = 0;
};

/// `n` messages of a queue, one a segment, or `together` in one.
void publish_many(Broker& broker, std::uint64_t n, int together = 256) {
  constexpr Connection from = 1;
  broker.open_publisher(from);
  for (std::uint64_t at = 0; at < n; at += static_cast<std::uint64_t>(together)) {
    broker.publish(from, 1 + at, together);
    broker.commit();
  }
}

/// One worker holds so many.
void hold(Broker& broker, std::uint64_t n) {
  publish_many(broker, n);
  broker.say(one_worker, Broker::worker_hello(token(1), n, 1));
  broker.finish();
  ASSERT_EQ(broker.delivered(one_worker), n);
}

TEST(FrameCosts, AHelloThatNamesAllThatAWorkerMayHold) {
  Timed broker;
  constexpr std::uint64_t n = 65'536;
  publish_many(broker, n);
  v1::Frame hello = Broker::worker_hello(token(1), n, 1);
  broker.say(one_worker, hello);
  broker.finish();
  ASSERT_EQ(broker.delivered(one_worker), n);
  const auto held = broker.deliveries(one_worker);
  const std::string store = broker.inbox[one_worker].front().welcome().store();
  const std::string start = broker.inbox[one_worker].front().welcome().start();

  // Message by message, in parts, in another session; then once more after a restart.
  for (const bool restarted : {false, true}) {
    if (restarted) broker.restart();
    const Connection again = restarted ? 4 : 3;
    v1::Frame frame = Broker::worker_hello(token(1), n, 2);
    frame.mutable_hello()->set_store(store);
    frame.mutable_hello()->set_start(start);
    int room = 1'000;
    for (const auto& delivery : held) {
      for (int i = 0; i < delivery.index().lengths_size(); ++i) {
        if (room-- == 0) {
          frame.mutable_hello()->set_more(true);
          broker.say_timed(again, frame);
          frame = Broker::worker_hello(token(1), n, 2);
          room = 1'000;
        }
        v1::Claim& claim = *frame.mutable_hello()->add_held();
        claim.set_queue(delivery.queue());
        claim.set_segment(delivery.segment());
        claim.set_first(delivery.first() + static_cast<std::uint32_t>(i));
        claim.set_count(1);
        claim.set_incarnation(1);
        claim.set_lease(delivery.lease() + static_cast<std::uint64_t>(i));
      }
    }
    broker.say_timed(again, frame);
    EXPECT_GT(broker.go_on(), 5);
    ASSERT_FALSE(broker.inbox[again].empty());
    const auto& welcome = broker.inbox[again].front().welcome();
    std::uint64_t granted = 0;
    for (const auto& answer : welcome.claims()) granted += answer.stale() ? 0 : answer.count();
    EXPECT_EQ(granted, n);
    v1::Workers workers;
    broker.core->list_workers(broker.now, workers);
    EXPECT_EQ(workers.workers(0).held_messages(), n);
  }
  EXPECT_LT(broker.worst_ms, turn_most_ms());
}

TEST(FrameCosts, ASettleThatRetriesAllThatAWorkerHolds) {
  for (const auto outcome : {v1::RETRY, v1::RELEASE, v1::DEFER, v1::REJECT, v1::ACK}) {
    Timed broker;
    constexpr std::uint64_t n = 65'536;
    hold(broker, n);
    broker.open_publisher(neighbour, 9);
    broker.commit();

    v1::Frame frame;
    auto* run = frame.mutable_settle()->add_runs();
    run->set_lease(1);
    run->set_count(n);
    run->set_outcome(outcome);
    run->set_delay_us(3'600'000'000ULL);
    broker.say_timed(one_worker, frame);
    broker.publish(neighbour, 1, 1);
    EXPECT_GT(broker.go_on(), 0);

    EXPECT_EQ(broker.confirmed(neighbour), 1U);
    EXPECT_EQ(
        broker.last(one_worker).settled().frames_size() + broker.inbox[one_worker].back().deliver().deliveries_size() >
            0,
        true);
    EXPECT_LT(broker.worst_ms, turn_most_ms()) << v1::Outcome_Name(outcome);
  }
}

TEST(FrameCosts, TheEndOfAWorkerThatHoldsAll) {
  Timed broker;
  constexpr std::uint64_t n = 65'536;
  hold(broker, n);
  v1::Frame goodbye;
  goodbye.mutable_goodbye();
  broker.say_timed(one_worker, goodbye);
  broker.go_on();
  EXPECT_EQ(broker.queue().ready(), n);
  EXPECT_LT(broker.worst_ms, turn_most_ms());
}

TEST(FrameCosts, ADeathThatNamesAllThatItsProcessHeld) {
  Timed broker;
  constexpr std::uint64_t n = 32'768;
  hold(broker, n);
  v1::Frame frame;
  auto& death = *frame.mutable_death();
  death.set_process_token(std::string(token(1).view()));
  death.set_signal(9);
  for (const auto& delivery : broker.deliveries(one_worker)) {
    for (int i = 0; i < delivery.index().lengths_size(); ++i) {
      auto& started = *death.add_started();
      started.set_queue("orders");
      started.set_segment(delivery.segment());
      started.set_index(delivery.first() + static_cast<std::uint32_t>(i));
      started.set_part(v1::Started::SUSPENDED);
    }
  }
  constexpr Connection reporter = 5;
  broker.open_keeper(reporter, token(1));
  broker.say_timed(reporter, frame);
  broker.go_on();
  EXPECT_EQ(broker.queue().suspects() + broker.queue().ready() + broker.queue().delayed(), n);
  EXPECT_LT(broker.worst_ms, turn_most_ms());
}

TEST(FrameCosts, AProcessThatIsLostWithAllThatItHeldAndComesBack) {
  Timed broker;
  constexpr std::uint64_t n = 32'768;
  hold(broker, n);
  for (int i = 0; i < 12; ++i) {
    broker.now.instant += 1s;
    broker.now.wall += 1s;
    broker.timed([&](Actions& actions) { broker.core->tick(broker.now, actions); });
  }
  broker.go_on();
  EXPECT_LT(broker.worst_ms, turn_most_ms()) << "lost";
  broker.say_timed(neighbour, Broker::worker_hello(token(9), 1, 1));  // so that they are looked for
  broker.go_on();
  EXPECT_LT(broker.worst_ms, turn_most_ms()) << "and looked for";

  broker.say_timed(one_worker + 1, Broker::worker_hello(token(1), n, 1));
  broker.go_on();
  EXPECT_LT(broker.worst_ms, turn_most_ms()) << "and found";
}

TEST(FrameCosts, APublishOfAllThatAWindowHoldsWithDelays) {
  Timed broker;
  constexpr int groups = 64;
  broker.open_publisher(1);
  v1::Frame frame;
  std::string run;
  for (int g = 0; g < groups; ++g) {
    v1::Frame one = broker.publish_frame(1 + static_cast<std::uint64_t>(g) * 256, 256, 3'600'000'000ULL);
    *frame.mutable_publish()->add_groups() = one.publish().groups(0);
    run.append(2560, 'x');
  }
  broker.say_timed(1, frame, run);
  EXPECT_GT(broker.go_on(), 2);
  EXPECT_EQ(broker.confirmed(1), 256U * groups);
  EXPECT_EQ(broker.queue().delayed(), 256U * groups);
  EXPECT_LT(broker.worst_ms, turn_most_ms());
}

TEST(FrameCosts, FramesBehindOneThatTakesLongWaitAndKeepTheirOrder) {
  Broker broker;
  broker.config.effort_ns = 1'000;
  broker.start();
  broker.open_publisher(1);
  v1::Frame first;
  std::string run;
  for (int g = 0; g < 8; ++g) {
    *first.mutable_publish()->add_groups() =
        broker.publish_frame(1 + static_cast<std::uint64_t>(g) * 256, 256, 1'000'000).publish().groups(0);
    run.append(2560, 'x');
  }
  broker.say(1, first, run);
  ASSERT_TRUE(broker.core->has_work());
  broker.publish(1, 8 * 256 + 1, 1);
  broker.publish(1, 8 * 256 + 2, 1);
  EXPECT_LT(broker.queue().published(), 8U * 256);

  broker.finish();

  EXPECT_EQ(broker.queue().published(), 8U * 256 + 2);
  EXPECT_EQ(broker.confirmed(1), 8U * 256 + 2);
  for (const auto& frame : broker.inbox[1]) EXPECT_FALSE(frame.has_error()) << frame.error().message();
}

TEST(FrameCosts, WhoSendsWithoutEndBehindOneIsEnded) {
  Broker broker;
  broker.config.effort_ns = 1;
  broker.start();
  broker.open_publisher(1);
  broker.publish(1, 1, 1);
  broker.finish();
  broker.attach(one_worker, token(1));
  broker.finish();
  v1::Frame frame;
  for (int i = 0; i < 1000; ++i) {
    auto* one = frame.mutable_settle()->add_runs();
    one->set_lease(1);
    one->set_count(1);
    one->set_outcome(v1::ACK);
  }
  for (int i = 0; i < 2'000 && !broker.last(one_worker).error().fatal(); ++i) broker.say(one_worker, frame);
  EXPECT_EQ(broker.last(one_worker).error().code(), v1::Error::TOO_MUCH);
}

TEST(FrameCosts, LookingAtThousandsOfLeasesAndQueues) {
  constexpr int queues = 1'000;
  constexpr int workers = 16;
  std::vector<QueueConfig> all;
  for (int i = 0; i < queues; ++i) all.push_back({"queue" + std::to_string(10'000 + i), written_first()});
  Timed broker(all);
  constexpr Connection from = 1;
  v1::Frame hello = Broker::publisher_hello();
  for (const auto& queue : all) hello.mutable_hello()->add_publish_to(queue.name);
  broker.say(from, hello);
  std::map<std::uint32_t, std::uint64_t> epochs;
  for (const auto& info : broker.last(from).welcome().queues()) epochs[info.id()] = info.window().epoch();
  std::uint64_t number = 1;
  for (const auto& [id, epoch] : epochs) {
    v1::Frame frame = broker.publish_frame(number, 17);
    frame.mutable_publish()->mutable_groups(0)->set_queue(id);
    frame.mutable_publish()->mutable_groups(0)->set_epoch(epoch);
    broker.say(from, frame, std::string(170, 'x'));
    number += 17;
  }
  broker.commit();
  for (int w = 0; w < workers; ++w) {
    v1::Frame frame = Broker::worker_hello(token(static_cast<unsigned char>(w + 1)), 1'000, 1);
    frame.mutable_hello()->clear_attach();
    for (const auto& queue : all) frame.mutable_hello()->add_attach()->set_queue(queue.name);
    broker.say(static_cast<Connection>(100 + w), frame);
  }
  broker.finish();

  std::uint64_t held = 0;
  int pages = 0;
  v1::ListWorkers wanted;
  v1::Workers page;
  double worst = 0;
  std::set<std::uint32_t> seen;
  do {
    page.Clear();
    worst = std::max(worst, cpu_ms([&] { broker.core->list_workers(broker.now, wanted, page); }));
    for (const auto& worker : page.workers()) {
      held += worker.held_messages();
      EXPECT_EQ(worker.queues_size(), queues);
    }
    wanted.set_after(page.next());
    ++pages;
  } while (page.next() != 0);
  EXPECT_EQ(held, 16'000U);
  EXPECT_GT(pages, 1);
  EXPECT_LT(worst, turn_most_ms());

  v1::ListQueues wanted_queues;
  v1::Queues some;
  std::uint64_t leased = 0;
  int count = 0;
  worst = 0;
  wanted_queues.set_most(300);
  do {
    some.Clear();
    worst = std::max(worst, cpu_ms([&] { broker.core->list_queues(wanted_queues, some); }));
    for (const auto& queue : some.queues()) leased += queue.leased();
    count += some.queues_size();
    wanted_queues.set_after(some.next());
  } while (!some.next().empty());
  EXPECT_EQ(count, queues);
  EXPECT_EQ(leased, 16'000U);
  EXPECT_LT(worst, turn_most_ms());
}

TEST(FrameCosts, FiveThousandPublishersOpenTheirSessions) {
  Broker broker;
  constexpr int n = 5'000;
  const double ms = cpu_ms([&] {
    for (int i = 0; i < n; ++i) {
      v1::Frame frame = Broker::publisher_hello();
      std::string id(16, '\0');
      id[0] = static_cast<char>(i & 0xFF);
      id[1] = static_cast<char>(i >> 8);
      frame.mutable_hello()->set_publisher(id);
      frame.mutable_hello()->add_publish_to("orders");
      const auto from = static_cast<Connection>(1000 + i);
      broker.say(from, frame);
      // They answer each smaller window, as clients do.
      if (i % 100 == 0) broker.pass(20ms);
    }
    for (int i = 0; i < 100; ++i) broker.pass(20ms);
  });
  std::uint64_t windows = 0;
  for (const auto& [to, frames] : broker.inbox) {
    for (const auto& frame : frames) windows += frame.has_window() ? 1 : 0;
  }
  EXPECT_LT(windows, 50U * n) << "it was 2,500 for each";
  EXPECT_LT(ms / n, 0.5);
}

TEST(FrameCosts, AWindowAboveTheCapIsCutAndTheWorkerIsTold) {
  Broker broker;
  broker.config.window_most = {Messages{100}, Bytes{1 << 16}};
  broker.start();
  publish_many(broker, 512);
  v1::Frame hello = Broker::worker_hello(token(1), ~std::uint64_t{0}, 1);
  hello.mutable_hello()->mutable_window()->set_bytes(~std::uint64_t{0});
  broker.say(one_worker, hello);
  broker.commit();

  EXPECT_EQ(broker.inbox[one_worker].front().welcome().window().messages(), 100U);
  EXPECT_EQ(broker.inbox[one_worker].front().welcome().window().bytes(), 1U << 16);
  EXPECT_EQ(broker.delivered(one_worker), 100U);
  ASSERT_FALSE(broker.notes.empty());
  EXPECT_EQ(std::count_if(broker.notes.begin(), broker.notes.end(),
                          [](const Note& note) { return note.event == "window_cut"; }),
            1);

  v1::Frame larger;
  larger.mutable_window()->set_epoch(2);
  larger.mutable_window()->set_messages(1'000'000);
  larger.mutable_window()->set_bytes(1'000'000);
  broker.say(one_worker, larger);
  EXPECT_EQ(broker.delivered(one_worker), 100U);
}

}  // namespace
}  // namespace weir::broker::core::testing
