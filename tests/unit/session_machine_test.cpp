#include "weir/engine/weir/session_machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "weir/protocol/frame.hpp"

namespace weir::engine::weir_broker {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Instant at(Duration time) { return Instant{time}; }

/// The broker's side, played by hand: it numbers what it says, and reads what is said.
class Play {
 public:
  explicit Play(Load window = {Messages{8}, Bytes{10'000}}) : machine(settings(), options(window)) {
    machine.start(at(1s));
  }

  static ClientSettings settings() {
    ClientSettings who;
    who.build = "test";
    return who;
  }
  static SessionOptions options(Load window) {
    SessionOptions all;
    all.group = "shop";
    all.shard = 1;
    all.queues = {{"orders", {"a.B"}}};
    all.window = window;
    return all;
  }

  void say(v1::Frame frame, std::string_view run = {}) {
    frame.set_number(++number);
    machine.frame(now, Slice::of(protocol::encode(frame, run)));
  }
  v1::Hello open() {
    number = 0;
    now += 2s;
    machine.tick(now);
    EXPECT_TRUE(machine.wants_open(now));
    machine.opened(now);
    const auto heard = hear();
    EXPECT_FALSE(heard.empty());
    return heard.empty() ? v1::Hello{} : heard.front().hello();
  }
  void welcome(std::uint32_t incarnation, const std::vector<v1::ClaimAnswer>& claims = {}) {
    v1::Frame frame;
    auto& welcome = *frame.mutable_welcome();
    welcome.set_incarnation(incarnation);
    welcome.set_store(store);
    welcome.set_start(start);
    welcome.set_store_is_older(store_is_older);
    welcome.set_commits(commits);
    welcome.set_session_timeout_us(10'000'000);
    for (std::uint32_t id : {7U, 8U}) {
      auto* queue = welcome.add_queues();
      queue->set_id(id);
      queue->set_name(id == 7 ? "orders" : "emails");
    }
    for (const auto& claim : claims) *welcome.add_claims() = claim;
    say(frame);
  }
  /// `count` messages of a byte each, or of `bytes`.
  void deliver(std::uint64_t segment, std::uint32_t first, std::uint32_t count, std::uint64_t lease,
               std::uint32_t bytes = 1) {
    v1::Frame frame;
    auto* delivery = frame.mutable_deliver()->add_deliveries();
    delivery->set_queue(7);
    delivery->set_segment(segment);
    delivery->set_first(first);
    delivery->set_lease(lease);
    delivery->set_attempt(1);
    delivery->mutable_index()->add_types("a.B");
    for (std::uint32_t i = 0; i < count; ++i) delivery->mutable_index()->add_lengths(bytes);
    frame.mutable_deliver()->set_commits(commits);
    auto* names = delivery->mutable_index()->add_names();
    names->set_publisher("its publisher id");
    names->set_first(segment * 1000 + first);
    names->set_count(count);
    say(frame, std::string(static_cast<std::size_t>(count) * bytes, 'x'));
  }
  std::vector<v1::Frame> hear() {
    std::vector<v1::Frame> frames;
    for (const auto& bytes : machine.outbox) frames.emplace_back().ParseFromString(bytes);
    machine.outbox.clear();
    return frames;
  }
  std::vector<Ticket> take() {
    std::vector<Ticket> tickets;
    while (auto batch = machine.take(now)) {
      for (const auto& delivery : batch->deliveries) tickets.push_back(delivery.ticket);
      lost.insert(lost.end(), batch->lost.begin(), batch->lost.end());
    }
    return tickets;
  }
  void settle(const std::vector<Ticket>& tickets, Outcome outcome = Outcome::ack) {
    std::vector<Settlement> settlements;
    for (const Ticket ticket : tickets) settlements.push_back({ticket, outcome, nullptr});
    machine.settle(now, settlements);
  }
  void settle_with_output(Ticket ticket, const std::string& queue) {
    std::vector<Settlement> one;
    one.push_back({ticket, Outcome::ack, std::make_unique<SettlementDetail>()});
    auto& output = one[0].detail->outputs.emplace_back();
    output.queue = queue;
    output.type = "a.C";
    output.body = "body";
    machine.settle(now, one);
  }
  void settled(std::uint64_t first, std::uint64_t last) {
    v1::Frame frame;
    auto* range = frame.mutable_settled()->add_frames();
    range->set_first(first);
    range->set_last(last);
    frame.mutable_settled()->set_commits(commits);
    say(frame);
  }
  void answer(std::uint64_t lease, std::uint32_t count, v1::Settled::Answer what, const std::string& reason = {}) {
    v1::Frame frame;
    auto* run = frame.mutable_settled()->add_runs();
    run->set_lease(lease);
    run->set_count(count);
    run->set_answer(what);
    run->set_reason(reason);
    say(frame);
  }

  std::string store = "store of 16 bits", start = "start of 16 bits";
  bool store_is_older = false;
  std::uint64_t commits = 0;
  Instant now = at(1s);
  std::uint64_t number = 0;
  SessionMachine machine;
  std::vector<Ticket> lost;
};

v1::ClaimAnswer granted(std::uint64_t segment, std::uint32_t first, std::uint32_t count, std::uint64_t lease) {
  v1::ClaimAnswer answer;
  answer.set_queue(7);
  answer.set_segment(segment);
  answer.set_first(first);
  answer.set_count(count);
  answer.set_lease(lease);
  return answer;
}

v1::ClaimAnswer stale(std::uint64_t segment, std::uint32_t first, std::uint32_t count) {
  v1::ClaimAnswer answer = granted(segment, first, count, 0);
  answer.set_stale(true);
  return answer;
}

TEST(Reconnecting, HelloSaysOfWhichStoreItsClaimsAreAndTheHighestCountThatItHeard) {
  Play play;
  EXPECT_EQ(play.open().store(), "");
  play.commits = 3;
  play.welcome(1);
  play.commits = 5;
  play.deliver(1, 0, 2, 1);
  play.settle(play.take());
  play.machine.ended(play.now, "cut");
  v1::Hello hello = play.open();
  EXPECT_EQ(hello.store(), play.store);
  EXPECT_EQ(hello.start(), play.start);
  EXPECT_EQ(hello.heard(), 5U);
  play.welcome(1);  // it is in the same state as before
  play.commits = 8;
  play.settled(1, 1);
  play.machine.ended(play.now, "cut");
  EXPECT_EQ(play.open().heard(), 8U);
}

TEST(Session, SaysWhoItIsAndWhatItWants) {
  Play play;

  const v1::Hello hello = play.open();

  EXPECT_EQ(hello.magic(), protocol::magic);
  EXPECT_EQ(hello.kind(), v1::WORKER);
  EXPECT_EQ(hello.group(), "shop");
  EXPECT_EQ(hello.attach(0).queue(), "orders");
  EXPECT_EQ(hello.attach(0).types(0), "a.B");
  EXPECT_EQ(hello.window().messages(), 8U);
}

TEST(Session, SettlesNeighboursAsOneRunWhateverTheirOrder) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 6, 50);
  auto tickets = play.take();
  std::swap(tickets[0], tickets[4]);

  play.settle(tickets);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  ASSERT_EQ(heard[0].settle().runs_size(), 1);
  EXPECT_EQ(heard[0].settle().runs(0).lease(), 50U);
  EXPECT_EQ(heard[0].settle().runs(0).count(), 6U);
  EXPECT_EQ(play.machine.outstanding().messages.value, 0U);
  EXPECT_EQ(play.machine.unconfirmed().settlements, 6U);
  play.settled(2, 2);
  EXPECT_EQ(play.machine.unconfirmed().settlements, 0U);
}

TEST(WindowHolds, AnEngineThatDeliversMoreEndsTheSessionWithWords) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 8, 50);
  play.take();

  play.deliver(100, 8, 1, 58);

  ASSERT_TRUE(play.machine.failure().has_value());
  EXPECT_EQ(*play.machine.failure(),
            "session of shop/1: the engine delivered 9 messages and 9 bytes into a window of 8 messages and 10000 "
            "bytes; closing the session");
  EXPECT_FALSE(play.machine.is_open());
}

TEST(WindowHolds, ALargeMessageIsTakenAloneAndNotBesideOthers) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 1, 50, 50'000);
  EXPECT_THAT(play.take(), SizeIs(1));
  EXPECT_FALSE(play.machine.failure());

  play.deliver(100, 1, 1, 51, 1);

  EXPECT_TRUE(play.machine.failure().has_value());
}

TEST(Resumption, TicketsStayAndLeasesAreRenamed) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 3, 50);
  const auto tickets = play.take();
  play.machine.ended(play.now, "cut");

  const v1::Hello hello = play.open();
  ASSERT_EQ(hello.held_size(), 1);
  EXPECT_EQ(hello.held(0).segment(), 100U);
  EXPECT_EQ(hello.held(0).count(), 3U);
  EXPECT_EQ(hello.held(0).lease(), 50U);
  EXPECT_EQ(hello.held(0).incarnation(), 1U);
  play.welcome(2, {granted(100, 0, 3, 900)});
  play.settle(tickets);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].settle().runs(0).lease(), 900U);
  EXPECT_EQ(heard[0].settle().runs(0).count(), 3U);
}

TEST(Resumption, WhatWasSettledUnheardIsSettledAgainUnderItsNewLease) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 4, 50);
  const auto tickets = play.take();
  play.settle_with_output(tickets[0], "emails");
  play.settle({tickets[1], tickets[2]});
  play.machine.ended(play.now, "cut");

  const v1::Hello hello = play.open();
  ASSERT_EQ(hello.held_size(), 1);
  EXPECT_EQ(hello.held(0).first(), 3U);
  ASSERT_EQ(hello.settled_size(), 1);
  EXPECT_EQ(hello.settled(0).count(), 3U);
  // The middle one had been heard before the cut, or is another's now.
  play.welcome(2, {granted(100, 3, 1, 900), granted(100, 0, 1, 901), stale(100, 1, 1), granted(100, 2, 1, 902)});

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  const auto& settle = heard[0].settle();
  ASSERT_EQ(settle.runs_size(), 2);
  EXPECT_EQ(settle.runs(0).lease(), 901U);
  EXPECT_EQ(settle.runs(1).lease(), 902U);
  ASSERT_EQ(settle.outputs_size(), 1);
  EXPECT_THAT(settle.outputs(0).source(), ElementsAre(901));
  EXPECT_EQ(settle.outputs(0).queue(), 8U);
  EXPECT_EQ(heard[0].run(), "body");
  EXPECT_EQ(play.machine.unconfirmed().settlements, 2U);
}

TEST(Resumption, AClaimThatIsStaleIsToldAsLostAndItsTicketIsFreeAfterwards) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 8, 50);
  const auto tickets = play.take();
  play.machine.ended(play.now, "cut");
  play.open();
  play.welcome(2, {granted(100, 0, 6, 900), stale(100, 6, 2)});
  // The broker counts them as gone already: it fills the window before the worker has heard.
  play.deliver(200, 0, 2, 910);
  EXPECT_FALSE(play.machine.failure());

  const auto first = play.machine.take(play.now);
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(first->deliveries, IsEmpty());
  EXPECT_THAT(first->lost, testing::UnorderedElementsAre(tickets[6], tickets[7]));
  EXPECT_THAT(play.take(), testing::UnorderedElementsAre(tickets[6], tickets[7]));
  EXPECT_EQ(play.machine.outstanding().messages.value, 8U);
}

TEST(Resumption, ASettlementMadeBetweenHelloAndWelcomeGoesOutUnderTheNewLease) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 2, 50);
  const auto tickets = play.take();
  play.machine.ended(play.now, "cut");
  play.open();
  play.settle({tickets[0]});
  EXPECT_EQ(play.machine.unconfirmed().settlements, 1U);
  EXPECT_THAT(play.hear(), IsEmpty());

  play.welcome(2, {granted(100, 0, 2, 900)});

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].settle().runs(0).lease(), 900U);
  EXPECT_EQ(heard[0].settle().runs(0).count(), 1U);
}

TEST(Resumption, AMessageSettledAndDeliveredHereAgainIsClaimedTwiceAndTheNewerLeaseLives) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 1, 50);
  play.settle(play.take(), Outcome::release);
  play.deliver(100, 0, 1, 60);
  const auto tickets = play.take();
  play.hear();
  play.machine.ended(play.now, "cut");

  const auto hello = play.open();
  ASSERT_EQ(hello.held_size(), 1);
  ASSERT_EQ(hello.settled_size(), 1);
  play.welcome(1, {granted(100, 0, 1, 60), stale(100, 0, 1)});

  play.take();
  EXPECT_THAT(play.lost, IsEmpty());
  EXPECT_EQ(play.machine.unconfirmed().settlements, 0U);
}

TEST(Resumption, OfAMessageClaimedTwiceTheHeldOneMayBeStaleAndItsOldSettlementNot) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 1, 50);
  play.settle(play.take(), Outcome::release);
  play.deliver(100, 0, 1, 60);
  const auto tickets = play.take();
  play.machine.ended(play.now, "cut");
  play.open();

  play.welcome(1, {stale(100, 0, 1), granted(100, 0, 1, 50)});

  play.take();
  EXPECT_THAT(play.lost, ElementsAre(tickets[0]));
  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].settle().runs(0).lease(), 50U);
}

TEST(Resumption, AHelloOfManyClaimsGoesInPartsBelow64KiB) {
  Play play({Messages{4000}, Bytes{10'000'000}});
  play.open();
  play.welcome(1);
  // Every second message only: no two are neighbours.
  for (std::uint32_t i = 0; i < 3000; ++i) play.deliver(1'000'000'000'000ULL + i, 2 * (i % 100), 1, 1'000'000 + 2 * i);
  EXPECT_THAT(play.take(), SizeIs(3000));
  play.machine.ended(play.now, "cut");

  play.number = 0;
  play.now += 2s;
  play.machine.opened(play.now);
  int claims = 0;
  for (const auto& bytes : play.machine.outbox) {
    EXPECT_LT(bytes.size(), 64U * 1024);
    v1::Frame frame;
    frame.ParseFromString(bytes);
    claims += frame.hello().held_size();
    EXPECT_EQ(frame.hello().more(), &bytes != &play.machine.outbox.back());
  }

  EXPECT_EQ(claims, 3000);
  EXPECT_GT(play.machine.outbox.size(), 2U);
}

TEST(Resumption, AHelloOfManyQueuesGoesInPartsBelow64KiB) {
  SessionOptions options;
  options.group = "shop";
  options.window = {Messages{8}, Bytes{1000}};
  for (int i = 0; i < 5'000; ++i) {
    options.queues.push_back({"a.queue.with.a.long.name." + std::to_string(i), {"shop.v1.OrderPlaced"}});
  }
  SessionMachine machine(ClientSettings{}, std::move(options));
  const Instant now{Duration{std::chrono::hours(1)}};
  machine.start(now);
  machine.opened(now);

  std::vector<std::string> attached;
  for (const auto& bytes : machine.outbox) {
    EXPECT_LT(bytes.size(), 64U * 1024);
    v1::Frame frame;
    frame.ParseFromString(bytes);
    EXPECT_EQ(frame.hello().more(), &bytes != &machine.outbox.back());
    for (const auto& one : frame.hello().attach()) attached.push_back(one.queue());
  }

  ASSERT_THAT(attached, SizeIs(5'000));
  EXPECT_EQ(attached.front(), "a.queue.with.a.long.name.0");
  EXPECT_EQ(attached.back(), "a.queue.with.a.long.name.4999");
}

TEST(OneLiveLease, ALeaseLostUnaskedIsTold) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 4, 50);
  const auto tickets = play.take();

  play.answer(51, 2, v1::Settled::STALE);

  play.take();
  EXPECT_THAT(play.lost, ElementsAre(tickets[1], tickets[2]));
  EXPECT_EQ(play.machine.outstanding().messages.value, 2U);
  play.settle({tickets[1]});  // told too late: it changes nothing
  EXPECT_THAT(play.hear(), IsEmpty());
}

TEST(OneLiveLease, ASettlementAnsweredStaleIsDone) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 3, 50);
  play.settle(play.take());

  play.answer(51, 1, v1::Settled::STALE);
  EXPECT_EQ(play.machine.unconfirmed().settlements, 2U);
  play.settled(2, 2);

  EXPECT_EQ(play.machine.unconfirmed().settlements, 0U);
  EXPECT_THAT(play.take(), IsEmpty());
  EXPECT_THAT(play.lost, IsEmpty());
}

TEST(Settling, WhatTheStoreHadNoRoomForIsSettledAgainLater) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 1, 50);
  play.settle_with_output(play.take().at(0), "emails");
  play.hear();

  play.answer(50, 1, v1::Settled::STORE_FULL);
  play.settled(2, 2);  // its frame's range does not confirm it
  EXPECT_EQ(play.machine.unconfirmed().settlements, 1U);
  EXPECT_THAT(play.hear(), IsEmpty());
  EXPECT_LE(play.machine.next_tick(), play.now + 500ms);
  play.now += 500ms;
  play.machine.tick(play.now);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].settle().runs(0).lease(), 50U);
  EXPECT_EQ(heard[0].settle().outputs_size(), 1);
  play.settled(3, 3);
  EXPECT_EQ(play.machine.unconfirmed().settlements, 0U);
}

// Simulator seed 143: it turned without a pause for as long as it was cut off.
TEST(Settling, OneThatTheStoreHadNoRoomForIsNoReasonToTickWhileCutOff) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 1, 50);
  play.settle_with_output(play.take().at(0), "emails");
  play.hear();
  play.answer(50, 1, v1::Settled::STORE_FULL);
  play.machine.ended(play.now, "cut");
  play.now += 600ms;
  play.machine.opened(play.now);
  play.machine.tick(play.now);

  EXPECT_GT(play.machine.next_tick(), play.now);
}

TEST(Settling, AnAckWhoseOutputsAreRefusedBecomesARetryThatSaysWhy) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 1, 50);
  play.settle_with_output(play.take().at(0), "emails");
  play.hear();

  play.answer(50, 1, v1::Settled::REFUSED, "outputs: unknown queue id 8");

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].settle().runs(0).outcome(), v1::RETRY);
  EXPECT_THAT(heard[0].settle().runs(0).error(), HasSubstr("unknown queue id 8"));
  EXPECT_EQ(heard[0].settle().outputs_size(), 0);
}

/// A broker that refuses whole frames, and the session with them, for what is acked under one lease.
class Refusing : public Play {
 public:
  explicit Refusing(std::uint64_t lease) : Play({Messages{300}, Bytes{100'000}}), bad_(lease) {}

  /// One more session; what it claims is granted as it was. False once nothing is left to be confirmed.
  bool session() {
    const v1::Hello said = open();
    std::vector<v1::ClaimAnswer> claims;
    for (const auto* each : {&said.held(), &said.settled()}) {
      for (const auto& claim : *each) claims.push_back(granted(100, claim.first(), claim.count(), 50 + claim.first()));
    }
    welcome(1, claims);
    ++sessions;
    return serve();
  }
  bool serve() {
    for (auto heard = hear(); !heard.empty(); heard = hear()) {
      std::uint64_t messages = 0;
      for (const auto& frame : heard) {
        for (const auto& run : frame.settle().runs()) messages += run.count();
      }
      most_at_once = sessions == 0 ? most_at_once : std::max(most_at_once, messages);
      for (const auto& frame : heard) {
        if (!takes(frame)) return true;
      }
    }
    return machine.unconfirmed().settlements > 0;
  }

  std::map<std::uint64_t, v1::Settle::Run> done;  ///< by lease
  int sessions = 0;
  std::uint64_t most_at_once = 0;

 private:
  bool takes(const v1::Frame& frame) {
    for (const auto& run : frame.settle().runs()) {
      if (run.outcome() != v1::ACK || bad_ < run.lease() || bad_ >= run.lease() + run.count()) continue;
      v1::Frame refusal;
      refusal.mutable_error()->set_code(v1::Error::MALFORMED);
      refusal.mutable_error()->set_message("its head does not parse");
      refusal.mutable_error()->set_fatal(true);
      say(refusal);
      return false;
    }
    for (const auto& run : frame.settle().runs()) {
      for (std::uint64_t lease = run.lease(); lease < run.lease() + run.count(); ++lease) done[lease] = run;
    }
    settled(frame.number(), frame.number());
    return true;
  }

  std::uint64_t bad_;
};

TEST(Settling, WhatEndedItsSessionTwiceIsTakenApartUntilOneIsFoundAndTheRestGoesOn) {
  Refusing play(50 + 77);
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 256, 50);
  const auto tickets = play.take();
  play.settle_with_output(tickets[77], "emails");
  std::vector<Ticket> others = tickets;
  others.erase(others.begin() + 77);
  play.settle(others);
  play.serve();

  while (play.session() && play.sessions < 40) continue;

  EXPECT_EQ(play.machine.unconfirmed().settlements, 0U);
  EXPECT_LT(play.sessions, 14);
  ASSERT_EQ(play.done.size(), 256U);
  EXPECT_EQ(play.done.at(50 + 77).outcome(), v1::RETRY);
  EXPECT_EQ(play.done.at(50 + 77).error(), "its settlement was refused: its head does not parse");
  for (const auto& [lease, run] : play.done) {
    if (lease != 50 + 77) {
      EXPECT_EQ(run.outcome(), v1::ACK) << lease;
    }
  }
}

TEST(Settling, AnEndWithoutTheBrokersWordsIsNobodysFault) {
  Refusing play(1);
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 4, 50);
  play.settle(play.take());
  for (int i = 0; i < 10; ++i) {
    play.hear();
    play.machine.ended(play.now, "cut");
    const v1::Hello said = play.open();
    ASSERT_EQ(said.settled_size(), 1);
    play.welcome(1, {granted(100, 0, 4, 50)});
  }

  EXPECT_FALSE(play.serve());
  EXPECT_EQ(play.done.at(50).outcome(), v1::ACK);
  EXPECT_EQ(play.done.at(50).count(), 4U);
}

TEST(Settling, OutputsAreGroupedByLaneAndNameTheirLeases) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 2, 50);
  const auto tickets = play.take();
  std::vector<Settlement> settlements;
  for (const Ticket ticket : tickets) {
    settlements.push_back({ticket, Outcome::ack, std::make_unique<SettlementDetail>()});
    for (const char* queue : {"emails", "orders", "emails"}) {
      auto& output = settlements.back().detail->outputs.emplace_back();
      output.queue = queue;
      output.type = "a.C";
      output.body = std::string(queue, 1) + std::to_string(settlements.size());
    }
  }
  play.machine.settle(play.now, settlements);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  ASSERT_EQ(heard[0].settle().outputs_size(), 2);
  EXPECT_THAT(heard[0].settle().outputs(0).source(), ElementsAre(50, 50, 51, 51));
  EXPECT_THAT(heard[0].settle().outputs(1).source(), ElementsAre(50, 51));
  EXPECT_EQ(heard[0].run(), "e1e1e2e2o1o2");
  EXPECT_EQ(play.machine.unconfirmed().output_bytes, 12U);
}

TEST(Draining, WhatComesAfterwardsIsReleasedUnseen) {
  Play play;
  play.open();
  play.welcome(1);
  play.deliver(100, 0, 2, 50);
  const auto tickets = play.take();
  play.machine.stop_taking(play.now);
  auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].window().messages(), 0U);

  play.deliver(100, 2, 2, 52);

  EXPECT_THAT(play.take(), IsEmpty());
  heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].settle().runs(0).lease(), 52U);
  EXPECT_EQ(heard[0].settle().runs(0).outcome(), v1::RELEASE);
  play.settle(tickets);
  EXPECT_THAT(play.hear(), SizeIs(1));
}

TEST(Frames, AGapEndsTheSession) {
  Play play;
  play.open();
  play.welcome(1);
  ++play.number;  // one was lost

  play.deliver(100, 0, 1, 50);

  EXPECT_FALSE(play.machine.is_open());
  EXPECT_EQ(play.machine.last_error(), "frame 3 came after frame 1");
  EXPECT_THAT(play.take(), IsEmpty());
}

TEST(Frames, ColumnsThatDisagreeEndTheSession) {
  Play play;
  play.open();
  play.welcome(1);
  v1::Frame frame;
  auto* delivery = frame.mutable_deliver()->add_deliveries();
  delivery->set_queue(7);
  delivery->mutable_index()->add_lengths(5);
  delivery->mutable_index()->add_types("a.B");

  play.say(frame, "xxx");

  EXPECT_FALSE(play.machine.is_open());
  EXPECT_THAT(play.machine.last_error(), HasSubstr("`lengths` sum to 5 bytes, the run has 3"));
}

TEST(Reconnecting, PausesGrowAndAreBounded) {
  Play play;
  Duration longest{};
  for (int i = 0; i < 12; ++i) {
    play.machine.opened(play.now);
    play.machine.ended(play.now, "nobody listens there");
    const Duration pause = play.machine.next_tick() - play.now;
    EXPECT_GE(pause, 25ms);
    EXPECT_LE(pause, 1s);
    longest = std::max(longest, pause);
    play.now += pause;
    EXPECT_TRUE(play.machine.wants_open(play.now));
  }
  EXPECT_GE(longest, 500ms);
}

TEST(Reconnecting, NoWelcomeWithinASecondMakesANewConnection) {
  Play play;
  play.open();

  for (int i = 0; i < 11; ++i) play.machine.tick(play.now += 100ms);

  EXPECT_FALSE(play.machine.is_open());
  EXPECT_THAT(play.machine.last_error(), HasSubstr("no WELCOME"));
}

TEST(Reconnecting, SilenceEndsASessionButNotItsOwnAbsence) {
  Play play;
  play.open();
  play.welcome(1);
  play.machine.tick(play.now += 60s);  // the loop was blocked: what waits is to be read first
  EXPECT_TRUE(play.machine.is_open());

  for (int i = 0; i < 80; ++i) play.machine.tick(play.now += 100ms);

  EXPECT_FALSE(play.machine.is_open());
  EXPECT_THAT(play.machine.last_error(), HasSubstr("nothing heard"));
}

TEST(Reconnecting, ANoForGoodIsKeptInTheBrokersWords) {
  Play play;
  play.open();
  v1::Frame frame;
  frame.mutable_error()->set_code(v1::Error::WRONG_VERSION);
  frame.mutable_error()->set_message("no protocol version in common: you speak 2 to 2, this broker 3 to 4");
  frame.mutable_error()->set_fatal(true);

  play.say(frame);

  ASSERT_TRUE(play.machine.failure().has_value());
  EXPECT_THAT(*play.machine.failure(), HasSubstr("you speak 2 to 2"));
  EXPECT_FALSE(play.machine.wants_open(play.now + 10s));
}

}  // namespace
}  // namespace weir::engine::weir_broker
