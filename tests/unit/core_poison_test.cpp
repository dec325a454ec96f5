// The innocent don't pay, at the level of the core: worker processes as they would behave, in simulated time, that die
// when they run a poison message; told by their parents exactly, roughly, or not at all.
#include <gmock/gmock.h>

#include <deque>
#include <random>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection keeper = 2;

/// What is known of a death.
enum class Told { culprit, started, nothing };

struct Site {
  struct Plan {
    int processes = 1;
    int shards = 2;
    std::uint64_t window = 256;
    std::size_t concurrency = 256;
    Told told = Told::culprit;
    Duration handler = 10ms;
    Duration restart = 200ms;
    Duration step = 1ms;
  };

  Site(Plan plan, std::uint64_t messages, std::set<std::uint64_t> the_poison)
      : plan_(plan), poison_(std::move(the_poison)) {
    QueuePolicy policy = written_first();
    policy.attempts = 5;
    policy.backoff = {1s, 2, 1min, 0};
    broker_ = std::make_unique<Broker>(std::vector<QueueConfig>{{"orders", policy}});
    broker_->open_publisher(publisher);
    broker_->open_keeper(keeper);
    for (std::uint64_t n = 1; n <= messages;) {
      const int count = static_cast<int>(std::min<std::uint64_t>(256, messages - n + 1));
      broker_->publish(publisher, n, count);
      broker_->commit();
      n += static_cast<std::uint64_t>(count);
      broker_->inbox[publisher].resize(1);
    }
    for (int i = 0; i < plan_.processes; ++i) starts_.push_back(broker_->now.instant);
  }

  /// One step of time; false once everything has ended.
  bool turn() {
    broker_->pass(plan_.step);
    broker_->commit();
    const Instant now = broker_->now.instant;
    if (now >= vouch_at_) {
      vouch_at_ = now + 1s;
      for (const auto& process : processes_) broker_->keep_alive(keeper, process.token);
    }
    for (auto& start : std::exchange(starts_, {})) start <= now ? attach() : starts_.push_back(start);
    for (std::size_t i = 0; i < processes_.size();) work(processes_[i], now) ? i += 1 : i;
    broker_->commit();
    return handled + broker_->queue().dead() < broker_->queue().published();
  }

  /// As by an operator, or the kernel: those that run their code now are on the CPU.
  void kill_one() {
    if (!processes_.empty()) die(processes_.front(), nullptr);
  }

  std::uint64_t handled = 0;
  int deaths = 0;
  std::set<std::uint64_t> charged;  ///< messages that came as more than a first attempt

  Broker& broker() { return *broker_; }

 private:
  struct Run {
    std::uint64_t lease{};
    std::uint64_t message{};
    std::uint64_t segment{};
    std::uint32_t index{};
    Instant ends;
  };
  struct Shard {
    Connection connection{};
    std::deque<Run> waiting;
    std::deque<Run> running;
  };
  struct Process {
    ProcessToken token;
    std::vector<Shard> shards;
  };

  void attach() {
    Process process;
    for (std::size_t i = 0; i < process.token.bytes.size(); ++i) {
      process.token.bytes[i] = static_cast<unsigned char>(random_());
    }
    for (int shard = 0; shard < plan_.shards; ++shard) {
      auto& one = process.shards.emplace_back();
      one.connection = ++connections_;
      v1::Frame frame;
      auto& hello = *frame.mutable_hello();
      hello.set_magic(protocol::magic);
      hello.set_version_lowest(protocol::version_lowest);
      hello.set_version_highest(protocol::version_highest);
      hello.set_kind(v1::WORKER);
      hello.set_process_token(std::string(process.token.view()));
      hello.set_shard(static_cast<std::uint32_t>(shard));
      hello.set_group("shop");
      hello.add_attach()->set_queue("orders");
      hello.mutable_window()->set_epoch(1);
      hello.mutable_window()->set_messages(plan_.window);
      hello.mutable_window()->set_bytes(1 << 20);
      broker_->say(one.connection, std::move(frame));
    }
    processes_.push_back(std::move(process));
  }

  void read(Shard& shard) {
    for (const auto& frame : std::exchange(broker_->inbox[shard.connection], {})) {
      ASSERT_FALSE(frame.has_error()) << frame.error().message();
      for (const auto& delivery : frame.deliver().deliveries()) {
        for (int i = 0; i < delivery.index().lengths_size(); ++i) {
          Run run;
          run.lease = delivery.lease() + static_cast<std::uint64_t>(i);
          run.segment = delivery.segment();
          run.index = delivery.first() + static_cast<std::uint32_t>(i);
          run.message = (run.segment - 1) * 256 + run.index;
          if (delivery.attempt() > 1) charged.insert(run.message);
          shard.waiting.push_back(run);
        }
      }
    }
  }

  /// False if it died.
  bool work(Process& process, Instant now) {
    for (auto& shard : process.shards) {
      read(shard);
      v1::Frame settle;
      while (!shard.running.empty() && shard.running.front().ends <= now) {
        auto* run = settle.mutable_settle()->add_runs();
        run->set_lease(shard.running.front().lease);
        run->set_count(1);
        run->set_outcome(v1::ACK);
        shard.running.pop_front();
        ++handled;
      }
      if (settle.has_settle()) broker_->say(shard.connection, settle);
      while (!shard.waiting.empty() && shard.running.size() < plan_.concurrency) {
        shard.running.push_back(shard.waiting.front());
        shard.waiting.pop_front();
        shard.running.back().ends = now + plan_.handler;
        if (!poison_.contains(shard.running.back().message)) continue;
        die(process, &shard);
        return false;
      }
    }
    return true;
  }

  /// `guilty` ran the poison, its last; nothing: none did.
  void die(Process& process, const Shard* guilty) {
    ++deaths;
    std::vector<v1::Started> started;
    for (auto& shard : process.shards) {
      // Every other time a handler of the other shard is on the CPU too.
      const std::size_t on_cpu = &shard == guilty                               ? shard.running.size() - 1
                                 : random_() % 2 == 0 && !shard.running.empty() ? random_() % shard.running.size()
                                                                                : ~std::size_t{0};
      for (std::size_t i = 0; i < shard.running.size(); ++i) {
        auto& one = started.emplace_back();
        one.set_queue("orders");
        one.set_segment(shard.running[i].segment);
        one.set_index(shard.running[i].index);
        one.set_part(i != on_cpu                                       ? v1::Started::SUSPENDED
                     : &shard == guilty && plan_.told == Told::culprit ? v1::Started::CULPRIT
                                                                       : v1::Started::ON_CPU);
      }
      Actions actions;
      broker_->core->disconnected(broker_->now, shard.connection, actions);
      broker_->carry_out(actions);
      broker_->inbox.erase(shard.connection);
    }
    if (plan_.told != Told::nothing) broker_->report(keeper, process.token, started);
    std::erase_if(processes_, [&](const Process& one) { return &one == &process; });
    starts_.push_back(broker_->now.instant + plan_.restart);
  }

  Plan plan_;
  std::set<std::uint64_t> poison_;
  std::unique_ptr<Broker> broker_;
  std::mt19937_64 random_{7};
  std::vector<Process> processes_;
  std::vector<Instant> starts_;
  Instant vouch_at_;
  Connection connections_ = 100;
};

struct ToldPoison : ::testing::TestWithParam<std::tuple<Told, int>> {};

TEST_P(ToldPoison, ThreeAmongTenThousandAreDeadLettersAndNobodyElsePays) {
  const auto [told, processes] = GetParam();
  const std::set<std::uint64_t> poison{17, 4711, 9001};
  Site::Plan plan;
  plan.told = told;
  plan.processes = processes;
  Site site(plan, 10'000, poison);
  const Instant begin = site.broker().now.instant;
  while (site.turn()) ASSERT_LT(site.broker().now.instant - begin, 30min) << site.broker().queue().ShortDebugString();

  const auto queue = site.broker().queue();
  EXPECT_EQ(queue.dead(), 3U);
  EXPECT_EQ(queue.acked(), 9'997U);
  EXPECT_EQ(queue.retried(), 12U);  // four for each of the three
  EXPECT_EQ(site.charged, poison);
  EXPECT_EQ(queue.suspects(), 0U);
  EXPECT_EQ(queue.bytes(), 0U);
  // Five each if the culprit is known at once; else it must be found, once.
  EXPECT_LE(site.deaths, told == Told::culprit ? 15 : told == Told::started ? 24 : 36);
  RecordProperty("deaths", site.deaths);
  std::cout << "deaths " << site.deaths << ", simulated "
            << std::chrono::duration_cast<std::chrono::milliseconds>(site.broker().now.instant - begin).count()
            << " ms\n";
}

INSTANTIATE_TEST_SUITE_P(Told, ToldPoison,
                         ::testing::Combine(::testing::Values(Told::culprit, Told::started, Told::nothing),
                                            ::testing::Values(1, 2, 4)));

TEST(Poison, IsFoundWhereMostOfTheWindowWaitsForASlot) {
  for (const Told told : {Told::started, Told::nothing}) {
    const std::set<std::uint64_t> poison{100, 101, 5000};
    Site::Plan plan;
    plan.told = told;
    plan.processes = 2;
    plan.concurrency = 16;
    Site site(plan, 10'000, poison);
    const Instant begin = site.broker().now.instant;
    while (site.turn()) ASSERT_LT(site.broker().now.instant - begin, 30min) << site.broker().queue().ShortDebugString();
    EXPECT_EQ(site.broker().queue().dead(), 3U);
    EXPECT_EQ(site.broker().queue().retried(), 12U);
    EXPECT_EQ(site.charged, poison);
    EXPECT_LE(site.deaths, told == Told::started ? 24 : 36);
    std::cout << "deaths " << site.deaths << "\n";
  }
}

TEST(Kills, ByAnOperatorCostNobodyAnAttempt) {
  for (const Told told : {Told::started, Told::nothing}) {
    Site::Plan plan;
    plan.told = told;
    plan.processes = 3;
    plan.concurrency = 16;
    Site site(plan, 60'000, {});
    const Instant begin = site.broker().now.instant;
    for (int turns = 1; site.turn(); ++turns) {
      ASSERT_LT(site.broker().now.instant - begin, 10min) << site.broker().queue().ShortDebugString();
      if (turns % 331 == 0 && site.deaths < 20) site.kill_one();
    }
    EXPECT_GT(site.deaths, 10);
    EXPECT_EQ(site.broker().queue().dead(), 0U);
    EXPECT_EQ(site.broker().queue().acked(), 60'000U);
    EXPECT_THAT(site.charged, ::testing::IsEmpty());
  }
}

TEST(LostMachine, ItsMessagesAreTriedWithinAFewRoundsOfTheirHandlers) {
  Site::Plan plan;
  plan.told = Told::nothing;
  plan.handler = 30s;
  plan.step = 100ms;
  Site site(plan, 512, {});
  for (int i = 0; i < 100; ++i) site.turn();
  ASSERT_EQ(site.broker().queue().leased(), 512U);
  site.kill_one();
  const Instant killed = site.broker().now.instant;
  while (site.turn()) ASSERT_LT(site.broker().now.instant - killed, 10min);
  std::cout << "handled after " << (site.broker().now.instant - killed).count() / 1'000'000 << " s\n";
  EXPECT_THAT(site.charged, ::testing::IsEmpty());
}

TEST(Throughput, IsBackWithinTenSecondsOfASigkillOf512HeldMessages) {
  Site::Plan plan;
  plan.told = Told::started;
  Site site(plan, 200'000, {});
  const auto rate = [&] {  // messages in a tenth of a second
    const std::uint64_t before = site.handled;
    for (Duration passed{}; passed < 100ms; passed += plan.step) site.turn();
    return site.handled - before;
  };
  rate();
  const std::uint64_t usual = rate();
  ASSERT_GT(usual, 3000U);
  ASSERT_EQ(site.broker().queue().leased(), 512U);
  site.kill_one();
  const Instant killed = site.broker().now.instant;
  while (rate() < usual * 9 / 10) ASSERT_LT(site.broker().now.instant - killed, 10s);
  const auto back = site.broker().now.instant - killed;
  while (site.broker().queue().suspects() > 0) {
    site.turn();
    ASSERT_LT(site.broker().now.instant - killed, 10s);
  }
  std::cout << "back after " << back.count() / 1000 << " ms, the last suspect cleared after "
            << (site.broker().now.instant - killed).count() / 1000 << " ms\n";
  EXPECT_EQ(site.broker().queue().retried(), 0U);
}

}  // namespace
}  // namespace weir::broker::core::testing
