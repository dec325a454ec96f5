// The core under random conversations, by seed: publishers and workers that cut their connections and come back, die
// and are reported or time out, brokers that restart with what was committed. A model of plain sets checks it at each
// step.
//
// Checked: a message that was confirmed is delivered until it is acked, rejected or out of attempts; it is never in two
// live hands; what was acked by a worker that still lives is never delivered again; windows hold; in the end, with all
// healed, nothing is left.
#include <gmock/gmock.h>

#include <random>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

using Id = std::pair<std::uint64_t, std::uint32_t>;  // segment, index

class Play {
 public:
  explicit Play(std::uint64_t seed) : random_(seed) {
    QueuePolicy policy;
    policy.attempts = 3;
    policy.backoff.first = 20ms;
    if (seed % 3 == 0) policy.most.messages = Messages{40};
    broker_ = std::make_unique<Broker>(std::vector<QueueConfig>{{"orders", policy}});
    broker_->config.seed = seed;
    for (unsigned char i = 0; i < 3; ++i) workers_.push_back({.token = token(static_cast<unsigned char>(10 + i))});
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) step();
    heal();
  }

 private:
  struct Outcome {
    v1::Claim claim;  // of one message
    v1::Outcome outcome{};
    std::uint64_t frame{};  // in this session; 0: to be sent
  };
  struct Worker {
    ProcessToken token;
    Connection connection = 0;
    std::map<Id, v1::Claim> held;
    std::map<Id, Outcome> settled;  // unconfirmed
    std::uint64_t frames = 0;
  };
  struct Sent {
    std::uint64_t first;
    int count;
  };

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  static Id id_of(const v1::Claim& claim) { return {claim.segment(), claim.first()}; }

  void step() {
    switch (below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return publish();
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        return settle(workers_[below(3)]);
      case 9:
      case 10:
      case 11: {
        if (broker_->sealed)
          broker_->finish_commit();
        else
          broker_->seal();
        return hear();
      }
      case 12:
      case 13:
        broker_->pass(Duration{static_cast<Duration::rep>(below(40'000))});
        return hear();
      case 14:
        return connect(workers_[below(3)]);
      case 15:
        return publisher_ == 0 || below(4) == 0 ? connect_publisher() : hear();
      case 16:
        if (below(6) == 0) restart();
        return hear();
      case 17:
        if (below(4) == 0) die(workers_[below(3)]);
        return hear();
      case 18:
        if (below(3) == 0) cut(workers_[below(3)]);
        return hear();
      default:
        return keep_alive();
    }
  }

  void publish() {
    if (publisher_ == 0) return;
    const int count = static_cast<int>(1 + below(5));
    std::uint64_t unanswered = 0;
    for (const auto& sent : unanswered_) unanswered += static_cast<std::uint64_t>(sent.count);
    if (unanswered + static_cast<std::uint64_t>(count) > window_) return;
    broker_->epoch = epoch_;
    broker_->publish(publisher_, number_, count, below(4) == 0 ? 1 + below(60'000) : 0);
    unanswered_.push_back({number_, count});
    number_ += static_cast<std::uint64_t>(count);
    hear();
  }

  void connect_publisher() {
    publisher_ = ++connections_;
    broker_->open_publisher(publisher_, 7, unanswered_.empty() ? number_ : unanswered_.front().first);
    ASSERT_TRUE(broker_->inbox[publisher_].front().welcome().publisher_known());
    epoch_ = 0;  // sent again: under an older epoch, without needing credit
    for (const auto& info : broker_->inbox[publisher_].front().welcome().queues()) {
      window_ = info.window().messages();
      next_epoch_ = info.window().epoch();
    }
    for (const auto& sent : std::vector<Sent>(unanswered_)) {
      broker_->epoch = 0;
      broker_->publish(publisher_, sent.first, sent.count);
    }
    epoch_ = next_epoch_;
    hear();
  }

  void connect(Worker& worker) {
    worker.connection = ++connections_;
    worker.frames = 1;
    std::vector<v1::Claim> held;
    std::vector<v1::Claim> settled;
    for (const auto& [id, claim] : worker.held) held.push_back(claim);
    for (const auto& [id, outcome] : worker.settled) settled.push_back(outcome.claim);
    broker_->attach(worker.connection, worker.token, window_of_worker, held, settled);
    ASSERT_FALSE(broker_->inbox[worker.connection].empty());
    const v1::Welcome welcome = broker_->inbox[worker.connection].front().welcome();
    for (const auto& answer : welcome.claims()) {
      for (std::uint32_t i = 0; i < answer.count(); ++i) {
        const Id id{answer.segment(), answer.first() + i};
        const bool holds = worker.held.contains(id);
        if (answer.stale()) {
          // Nobody took it away: this worker is alive and was never silent for long.
          ASSERT_FALSE(holds) << "a held message went stale: " << id.first << "." << id.second;
          worker.settled.erase(id);
          continue;
        }
        v1::Claim& claim = holds ? worker.held[id] : worker.settled[id].claim;
        claim.set_incarnation(welcome.incarnation());
        claim.set_lease(answer.lease() + i);
      }
    }
    for (auto& [id, outcome] : worker.settled) send_outcome(worker, outcome);
    hear();
  }

  void send_outcome(Worker& worker, Outcome& outcome) {
    outcome.frame = ++worker.frames;
    std::optional<std::uint64_t> delay;
    if (outcome.outcome == v1::DEFER) delay = 10'000;
    broker_->settle(worker.connection, outcome.claim.lease(), 1, outcome.outcome, delay);
  }

  void settle(Worker& worker) {
    if (worker.connection == 0 || worker.held.empty()) return;
    auto at = worker.held.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(below(worker.held.size())));
    constexpr v1::Outcome outcomes[] = {v1::ACK, v1::ACK, v1::ACK, v1::RETRY, v1::REJECT, v1::RELEASE, v1::DEFER};
    Outcome& outcome = worker.settled[at->first];
    outcome.claim = at->second;
    outcome.outcome = outcomes[below(7)];
    if (outcome.outcome == v1::ACK || outcome.outcome == v1::REJECT) finished_.insert(at->first);
    if (outcome.outcome == v1::RETRY) ++may_count_[at->first];
    worker.held.erase(at);
    send_outcome(worker, outcome);
    hear();
  }

  void keep_alive() {
    for (auto& worker : workers_) {
      v1::Frame frame;
      frame.mutable_keep_alive()->set_process_token(std::string(worker.token.view()));
      if (keeper_ == 0) {
        keeper_ = ++connections_;
        v1::Frame hello;
        hello.mutable_hello()->set_magic(protocol::magic);
        hello.mutable_hello()->set_version_lowest(1);
        hello.mutable_hello()->set_version_highest(1);
        hello.mutable_hello()->set_kind(v1::KEEP_ALIVE);
        broker_->say(keeper_, hello);
      }
      broker_->say(keeper_, frame);
    }
    hear();
  }

  void restart() {
    broker_->restart();
    for (auto& worker : workers_) worker.connection = 0;
    publisher_ = keeper_ = 0;
    keep_alive();
  }

  /// The connection is gone, and with it what was on its way.
  void cut(Worker& worker) {
    if (worker.connection == 0) return;
    Actions actions;
    broker_->core->disconnected(broker_->now, worker.connection, actions);
    broker_->carry_out(actions);
    broker_->inbox.erase(worker.connection);
    worker.connection = 0;
  }

  /// The process dies and its death is reported: with a culprit, with some on the CPU, or none; a new one takes its
  /// place.
  void die(Worker& worker) {
    if (keeper_ == 0) return;
    v1::Frame frame;
    frame.mutable_death()->set_process_token(std::string(worker.token.view()));
    frame.mutable_death()->set_signal(9);
    const std::uint64_t kind = below(3);
    for (const auto& [id, claim] : worker.held) {
      if (below(4) == 0) continue;  // had not started
      auto& one = *frame.mutable_death()->add_started();
      one.set_queue("orders");
      one.set_segment(id.first);
      one.set_index(id.second);
      one.set_part(kind == 2 || below(3) > 0 ? v1::Started::SUSPENDED
                   : kind == 1               ? v1::Started::ON_CPU
                                             : v1::Started::CULPRIT);
      const bool culprit = one.part() == v1::Started::CULPRIT;
      const bool known = std::any_of(frame.death().started().begin(), frame.death().started().end(),
                                     [](const auto& other) { return other.part() == v1::Started::CULPRIT; });
      if (culprit || (!known && started_in_deaths_[id]++ > 0)) ++may_count_[id];
    }
    broker_->say(keeper_, frame);
    for (const auto& [id, outcome] : worker.settled) finished_.erase(id);  // heard or not: nobody can tell
    for (const auto& [id, outcome] : worker.settled) unsure_.insert(id);
    const auto next = static_cast<unsigned char>(++tokens_);
    worker = {.token = token(next)};
  }

  /// Everybody reads what has come.
  void hear() {
    for (auto& frame : take(publisher_)) {
      ASSERT_FALSE(frame.has_error()) << frame.error().message();
      if (frame.has_window() && frame.window().epoch() > epoch_) {
        window_ = frame.window().messages();
        epoch_ = frame.window().epoch();
      }
      for (const auto& run : frame.confirmed().runs()) confirmed(run);
    }
    for (auto& worker : workers_) {
      for (auto& frame : take(worker.connection)) {
        ASSERT_FALSE(frame.has_error()) << frame.error().message();
        for (const auto& range : frame.settled().frames()) {
          std::erase_if(worker.settled, [&](const auto& one) {
            return one.second.frame >= range.first() && one.second.frame <= range.last();
          });
        }
        for (const auto& run : frame.settled().runs()) {
          for (const auto& [id, claim] : worker.held) {
            ASSERT_FALSE(claim.lease() >= run.lease() && claim.lease() < run.lease() + run.count()) << "revoked";
          }
        }
        for (const auto& delivery : frame.deliver().deliveries()) received(worker, delivery);
        ASSERT_LE(worker.held.size(), window_of_worker);
      }
    }
  }

  void confirmed(const v1::Confirmed::Run& run) {
    ASSERT_EQ(run.answer(), v1::Confirmed::CONFIRMED);
    for (std::uint32_t i = 0; i < run.count(); ++i) {
      const std::uint64_t number = run.first() + i;
      ASSERT_TRUE(confirmed_.insert(number).second || run.segment() == 0) << number << " was confirmed twice";
    }
    std::erase_if(unanswered_, [&](const Sent& sent) {
      return sent.first >= run.first() &&
             sent.first + static_cast<std::uint64_t>(sent.count) <= run.first() + run.count();
    });
  }

  void received(Worker& worker, const v1::Delivery& delivery) {
    for (int i = 0; i < delivery.index().lengths_size(); ++i) {
      const Id id{delivery.segment(), delivery.first() + static_cast<std::uint32_t>(i)};
      ASSERT_FALSE(finished_.contains(id)) << id.first << "." << id.second << " was acked or rejected, and came again";
      for (const auto& other : workers_) {
        ASSERT_FALSE(other.held.contains(id)) << id.first << "." << id.second << " is in two hands";
      }
      ASSERT_LE(delivery.attempt(), 3U);
      // The innocent don't pay: neither retried, nor named, nor at work in two deaths that nobody could explain.
      ASSERT_LE(delivery.attempt(), 1 + may_count_[id]) << id.first << "." << id.second << " was charged";
      ASSERT_FALSE(worker.settled.contains(id) && worker.settled[id].frame == 0);
      worker.settled.erase(id);  // its outcome was applied, or it would not have come again
      v1::Claim claim;
      claim.set_queue(1);
      claim.set_segment(id.first);
      claim.set_first(id.second);
      claim.set_count(1);
      claim.set_incarnation(incarnation());
      claim.set_lease(delivery.lease() + static_cast<std::uint64_t>(i));
      claim.set_origin_incarnation(claim.incarnation());
      claim.set_origin_lease(claim.lease());
      worker.held[id] = claim;
    }
  }

  std::uint32_t incarnation() {
    for (const auto& worker : workers_) {
      if (worker.connection != 0 && incarnations_.contains(worker.connection)) return incarnations_[worker.connection];
    }
    return 0;
  }

  std::vector<v1::Frame> take(Connection connection) {
    if (connection == 0) return {};
    std::vector<v1::Frame> frames = std::move(broker_->inbox[connection]);
    broker_->inbox[connection].clear();
    for (const auto& frame : frames) {
      if (frame.has_welcome()) incarnations_[connection] = frame.welcome().incarnation();
    }
    return frames;
  }

  void heal() {
    if (::testing::Test::HasFatalFailure()) return;
    if (broker_->sealed) broker_->finish_commit();
    connect_publisher();
    for (int i = 0; i < 400 && !::testing::Test::HasFatalFailure(); ++i) {
      for (auto& worker : workers_) {
        if (worker.connection == 0) connect(worker);
      }
      keep_alive();
      broker_->commit();
      broker_->pass(50ms);
      hear();
      for (auto& worker : workers_) {
        while (!worker.held.empty()) {
          auto at = worker.held.begin();
          Outcome& outcome = worker.settled[at->first];
          outcome.claim = at->second;
          outcome.outcome = v1::ACK;
          finished_.insert(at->first);
          worker.held.erase(at);
          send_outcome(worker, outcome);
        }
      }
      hear();
    }
    if (::testing::Test::HasFatalFailure()) return;
    EXPECT_TRUE(unanswered_.empty());
    EXPECT_EQ(confirmed_.size(), number_ - 1);
    const auto counts = broker_->queue();
    EXPECT_EQ(counts.ready() + counts.delayed() + counts.leased(), 0U) << counts.ShortDebugString();
    EXPECT_EQ(counts.published(), number_ - 1);
    EXPECT_EQ(counts.acked() + counts.dead(), counts.published());
    EXPECT_EQ(counts.bytes(), 0U);
    for (const auto& worker : workers_) EXPECT_TRUE(worker.settled.empty());
  }

  static constexpr std::uint64_t window_of_worker = 8;
  std::mt19937_64 random_;
  std::unique_ptr<Broker> broker_;
  std::vector<Worker> workers_;
  Connection connections_ = 0;
  Connection publisher_ = 0;
  Connection keeper_ = 0;
  unsigned tokens_ = 100;
  std::uint64_t number_ = 1;
  std::uint64_t window_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint64_t next_epoch_ = 0;
  std::vector<Sent> unanswered_;
  std::set<std::uint64_t> confirmed_;
  std::set<Id> finished_;
  std::set<Id> unsure_;
  std::map<Connection, std::uint32_t> incarnations_;
  std::map<Id, std::uint32_t> may_count_;          ///< attempts, at most
  std::map<Id, std::uint32_t> started_in_deaths_;  ///< without a culprit
};

TEST(CoreUnderRandomConversations, KeepsItsPromises) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Play(seed).run(600);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

}  // namespace
}  // namespace weir::broker::core::testing
