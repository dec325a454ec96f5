// The broker's core: of which store a client speaks, and what becomes of what it says of another, or of a later one.
#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;
constexpr Connection other = 3;

StoreId another() {
  StoreId id;
  id.bytes.fill(0x5a);
  return id;
}

/// What a client has heard of: a store, the start that it was welcomed by, and how many commits since.
struct Heard {
  StoreId store;
  StartId start;
  std::uint64_t commits{};

  Heard(const Broker& broker, std::uint64_t of_commits)
      : store(broker.store_id), start(broker.start_id), commits(of_commits) {}
  void tell(v1::Hello& hello) const {
    hello.set_store(std::string(store.view()));
    hello.set_start(std::string(start.view()));
    hello.set_heard(commits);
  }
};

v1::Frame hello_of(const Heard& heard, std::vector<v1::Claim> held, std::vector<v1::Claim> settled = {}) {
  v1::Frame frame = Broker::worker_hello(token(1), 100, 2);
  v1::Hello& hello = *frame.mutable_hello();
  heard.tell(hello);
  for (auto& claim : held) *hello.add_held() = claim;
  for (auto& claim : settled) *hello.add_settled() = claim;
  return frame;
}

v1::Frame publisher_of(const Heard& heard, std::uint64_t lowest_unanswered) {
  v1::Frame frame = Broker::publisher_hello(7, lowest_unanswered);
  heard.tell(*frame.mutable_hello());
  return frame;
}

std::size_t notes_of(const Broker& broker, const std::string& event, const std::string& by = {}) {
  return static_cast<std::size_t>(std::count_if(broker.notes.begin(), broker.notes.end(), [&](const Note& note) {
    return note.event == event && (by.empty() || note.fields.front() == std::pair<std::string, std::string>{"by", by});
  }));
}

/// Of a session: a BEAT may have followed it.
const v1::Welcome& welcome_of(Broker& broker, Connection to) {
  const v1::Frame& first = broker.inbox[to].front();
  EXPECT_TRUE(first.has_welcome()) << first.ShortDebugString();
  return first.welcome();
}

bool all_stale(const v1::Welcome& welcome) {
  return std::all_of(welcome.claims().begin(), welcome.claims().end(), [](const auto& one) { return one.stale(); });
}

/// An older copy of the folder is put back under clients that live on.
void put_back(Broker& broker, const engine::memory::MemoryStore& store) {
  broker.core.reset();
  broker.store = store;
  broker.restart();
}
/// The folder is wiped. Returns what a client had heard of that.
Heard wipe(Broker& broker, std::uint64_t commits = 2) {
  const Heard before(broker, commits);
  put_back(broker, engine::memory::MemoryStore(another()));
  broker.store_id = another();
  return before;
}

TEST(Identity, WelcomeTellsTheStoreAndHowManyCommitsItHas) {
  Broker broker;
  broker.open_publisher(publisher);
  EXPECT_EQ(welcome_of(broker, publisher).store(), broker.store_id.view());
  EXPECT_EQ(welcome_of(broker, publisher).commits(), 0U);
  broker.commit();  // its queue
  broker.publish(publisher, 1, 1);
  broker.commit();
  EXPECT_EQ(broker.last(publisher).confirmed().commits(), 2U);
  broker.attach(worker, token(1));
  EXPECT_EQ(welcome_of(broker, worker).commits(), 2U);
  broker.restart();
  broker.open_publisher(publisher);
  EXPECT_GE(welcome_of(broker, publisher).commits(), 2U) << "the store counts, not the broker";
}

TEST(Identity, WhatIsToldBearsTheCommitsThatAreOnDiskAndNoMore) {
  Broker broker({{"orders", QueuePolicy{}}});
  broker.open_publisher(publisher);
  broker.attach(worker, token(1));
  broker.commit();
  broker.publish(publisher, 1, 1);  // the first is delivered once its lane's mark is on disk
  broker.commit();
  const std::uint64_t on_disk = broker.last(publisher).confirmed().commits();
  EXPECT_GE(on_disk, 2U);

  broker.publish(publisher, 2, 1);

  ASSERT_TRUE(broker.last(worker).has_deliver()) << "ahead of its commit";
  EXPECT_EQ(broker.last(worker).deliver().commits(), on_disk);
  broker.commit();
  EXPECT_EQ(broker.last(publisher).confirmed().commits(), on_disk + 1) << "its own commit is among them";
  broker.settle(worker, broker.deliveries(worker).back().lease(), 1, v1::RETRY, 1'000'000);
  broker.commit();
  EXPECT_EQ(broker.last(worker).settled().commits(), on_disk + 2);
}

TEST(Identity, AConfirmationOfWhatWasNeverWrittenBearsNoCount) {
  Broker broker({{"orders", QueuePolicy{}}});
  broker.open_publisher(publisher);
  broker.attach(worker, token(1));
  broker.commit();
  broker.publish(publisher, 1, 1);
  broker.commit();  // of a new publisher the first is written
  broker.settle(worker, broker.deliveries(worker).back().lease(), 1, v1::ACK);
  broker.commit();
  broker.publish(publisher, 2, 1);
  broker.settle(worker, broker.deliveries(worker).back().lease(), 1, v1::ACK);
  ASSERT_TRUE(broker.last(publisher).has_confirmed()) << "though nothing was committed";
  EXPECT_EQ(broker.last(publisher).confirmed().runs(0).first(), 2U);
  EXPECT_EQ(broker.last(publisher).confirmed().commits(), 0U);
}

TEST(Identity, AWipedFolderTakesNoSettlementOfTheOldOne) {
  Broker broker;
  broker.give(10, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  const Heard before = wipe(broker);
  // The new store gives the same numbers to other messages, and the same leases to another worker.
  broker.give(10, other, token(2));
  ASSERT_EQ(broker.deliveries(other).front().lease(), held.lease());

  broker.say(worker, hello_of(before, {broker.claim_of(held, 1)}, {broker.claim_of(held, 1)}));

  const v1::Welcome& welcome = welcome_of(broker, worker);
  ASSERT_EQ(welcome.claims_size(), 2);
  EXPECT_TRUE(all_stale(welcome));
  EXPECT_EQ(welcome.claims(0).count(), 10U);
  EXPECT_EQ(welcome.store(), another().view());
  EXPECT_EQ(notes_of(broker, "store_is_another"), 1U);
  EXPECT_EQ(broker.queue().leased(), 10U) << "nobody else is touched";
}

TEST(Identity, ItIsSaidOnceAClientHoweverOftenItComes) {
  Broker broker;
  broker.give(10, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  const Heard before = wipe(broker);
  for (const Connection again : {worker, worker + 10, worker + 20}) {
    broker.say(again, hello_of(before, {broker.claim_of(held, 1)}));
    EXPECT_TRUE(all_stale(welcome_of(broker, again)));
  }
  EXPECT_EQ(notes_of(broker, "store_is_another"), 1U);
}

TEST(Identity, AnOlderCopyMakesStaleWhatIsSaidOfALaterOneAndTouchesNobodyElse) {
  Broker broker;
  broker.give(4, worker, token(1));
  broker.attach(other, token(2));
  broker.commit();
  const auto held = broker.deliveries(worker).front();
  const auto copy = broker.store;
  const std::uint64_t copied = welcome_of(broker, other).commits() + 1;
  broker.publish(publisher, 5, 1);
  broker.commit();
  broker.publish(publisher, 6, 1);
  broker.commit();
  const Heard later(broker, copied + 2);
  const Heard what_it_has(broker, copied);
  put_back(broker, copy);

  broker.say(worker, hello_of(later, {broker.claim_of(held, 1)}));
  EXPECT_TRUE(all_stale(welcome_of(broker, worker)));
  EXPECT_TRUE(welcome_of(broker, worker).store_is_older());
  EXPECT_EQ(notes_of(broker, "store_is_older", "2"), 1U);
  v1::Frame untouched = Broker::worker_hello(token(2), 100, 2);
  what_it_has.tell(*untouched.mutable_hello());
  broker.say(other, untouched);
  EXPECT_FALSE(welcome_of(broker, other).store_is_older());
  EXPECT_EQ(notes_of(broker, "store_is_older"), 1U) << "the other heard of nothing that is not there";
}

/// Five commits of its own.
void go_on(Broker& broker) {
  broker.open_publisher(other, 9);
  for (std::uint64_t n = 1; n <= 5; ++n) {
    broker.publish(other, n, 1);
    broker.commit();
  }
}

TEST(Identity, ACopyThatHasOvertakenWhatAClientHeardIsStillOlder) {
  for (const bool restarted : {false, true}) {
    Broker broker;
    broker.give(4, worker, token(1));
    const auto held = broker.deliveries(worker).front();
    const Heard later(broker, broker.last(publisher).confirmed().commits() + 3);
    put_back(broker, engine::memory::MemoryStore(broker.store));
    go_on(broker);
    if (restarted) broker.restart();  // its client was cut off over two starts
    broker.say(worker, hello_of(later, {broker.claim_of(held, 1)}));
    EXPECT_TRUE(all_stale(welcome_of(broker, worker))) << restarted;
  }
}

TEST(Identity, WhoWasWelcomedByAStartThatTheCopyLacksSpeaksOfALaterStore) {
  Broker broker;
  broker.give(4, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  const auto copy = broker.store;
  broker.restart();
  const Heard later(broker, 0);  // of no commit since
  put_back(broker, copy);        // which repeats that start's incarnation
  broker.say(worker, hello_of(later, {broker.claim_of(held, 1)}));
  EXPECT_TRUE(all_stale(welcome_of(broker, worker)));
  EXPECT_EQ(notes_of(broker, "store_is_older"), 1U);
}

TEST(Identity, ARestartOfTheSameStoreLooksOlderToNobody) {
  for (const int restarts : {0, 1, 3}) {
    Broker broker;
    broker.give(4, worker, token(1));
    broker.commit();
    const auto held = broker.deliveries(worker).front();
    const Heard heard(broker, broker.last(publisher).confirmed().commits());
    for (int i = 0; i < restarts; ++i) broker.restart();
    broker.say(worker + 20, hello_of(heard, {broker.claim_of(held, 1)}));
    EXPECT_FALSE(all_stale(welcome_of(broker, worker + 20))) << restarts;
    broker.say(publisher + 10, publisher_of(heard, 5));
    EXPECT_TRUE(welcome_of(broker, publisher + 10).publisher_known());
  }
}

// Simulation, seed 122570: it had heard of as many commits of the later store as of the copy since, and its claims were
// stale once more.
TEST(Identity, WhoWasToldThatItIsOlderIsWelcomeFromThenOn) {
  Broker broker;
  broker.give(4, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  const std::uint64_t copied = broker.store.commits();
  const auto copy = broker.store;
  const Heard later(broker, copied + 4);
  put_back(broker, copy);
  broker.say(worker, hello_of(later, {broker.claim_of(held, 1)}));
  ASSERT_TRUE(all_stale(welcome_of(broker, worker)));
  go_on(broker);
  ASSERT_FALSE(broker.deliveries(worker).empty());
  const auto now_held = broker.deliveries(worker).front();
  broker.say(worker + 10, hello_of({broker, copied + 4}, {broker.claim_of(now_held, 2)}));
  EXPECT_FALSE(all_stale(welcome_of(broker, worker + 10)));
}

TEST(Identity, WhatAPublisherHasUnansweredOfAnotherStoreIsInDoubt) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 3);
  broker.commit();
  const Heard before = wipe(broker);

  broker.say(publisher, publisher_of(before, 1));  // unanswered from its first on

  EXPECT_FALSE(welcome_of(broker, publisher).publisher_known());
  // Its WELCOME may be lost on the way: it is told again.
  broker.say(publisher + 10, publisher_of(before, 1));
  EXPECT_FALSE(welcome_of(broker, publisher + 10).publisher_known());
  broker.say(publisher + 20, publisher_of({broker, 0}, 4));  // it heard, and has given those up
  EXPECT_TRUE(welcome_of(broker, publisher + 20).publisher_known());
}

TEST(Identity, WhatAPublisherHasUnansweredOfALaterStoreIsInDoubt) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 3);
  broker.commit();
  const auto copy = broker.store;
  const std::uint64_t copied = broker.last(publisher).confirmed().commits();
  const Heard later(broker, copied + 2);
  put_back(broker, copy);
  broker.say(publisher, publisher_of(later, 6));
  EXPECT_FALSE(welcome_of(broker, publisher).publisher_known());
  EXPECT_EQ(notes_of(broker, "store_is_older", "2"), 1U);
  EXPECT_GE(welcome_of(broker, publisher).publisher_mark(), 5U) << "it goes on above";
  // The copy has as many of its own by now, and the WELCOME was lost.
  go_on(broker);
  ASSERT_EQ(notes_of(broker, "store_is_older"), 1U);
  broker.say(publisher + 10, publisher_of(later, 6));
  ASSERT_GE(welcome_of(broker, publisher + 10).commits(), copied + 2);
  EXPECT_FALSE(welcome_of(broker, publisher + 10).publisher_known());
}

TEST(Identity, WhoWasForgottenIsToldSoUntilItPublishes) {
  Broker broker;  // it has no mark of a publisher that has published before
  for (const Connection again : {publisher, publisher + 10}) {
    broker.say(again, publisher_of({broker, 0}, 5));
    EXPECT_FALSE(welcome_of(broker, again).publisher_known()) << "its WELCOME may be lost on the way";
  }
}

TEST(Identity, APublishThatOverlapsWithWhatWasTakenIsRefusedAndTakesNothing) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.publish(publisher, 1, 3);
  broker.commit();
  constexpr Connection again = publisher + 10;
  broker.open_publisher(again);
  broker.publish(again, 2, 3);  // what is sent again comes in other frames
  ASSERT_TRUE(broker.last(again).has_error());
  EXPECT_EQ(broker.last(again).error().code(), v1::Error::MALFORMED);
  EXPECT_EQ(broker.last(again).error().message(),
            "PUBLISH: messages 2 to 4 of queue 'orders' overlap with what was taken, up to 3");
  EXPECT_EQ(broker.queue().ready(), 3U);
}

TEST(Identity, AClaimOfALeaseThatWasNeverGrantedIsStale) {
  Broker broker;
  broker.give(4, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  v1::Claim later = broker.claim_of(held, 1);
  later.set_lease(1000);
  v1::Claim of_a_later_start = broker.claim_of(held, 9);
  v1::Claim none = broker.claim_of(held, 1);
  none.set_lease(0);
  none.set_count(1);
  v1::Claim delivered_later = broker.claim_of(held, 1);
  delivered_later.set_origin_incarnation(7);
  delivered_later.set_origin_lease(1);
  for (const auto& claim : {later, of_a_later_start, none, delivered_later}) {
    SCOPED_TRACE(claim.ShortDebugString());
    for (const bool settled : {false, true}) {
      Broker again;
      again.give(4, worker, token(1));
      const std::vector<v1::Claim> claims{claim};
      again.say(other, hello_of({again, 0}, settled ? std::vector<v1::Claim>{} : claims,
                                settled ? claims : std::vector<v1::Claim>{}));
      EXPECT_TRUE(all_stale(welcome_of(again, other)));
    }
  }
}

TEST(Identity, WhoSpeaksOfNoStoreSpeaksOfAnother) {
  Broker broker;
  broker.give(4, worker, token(1));
  const auto held = broker.deliveries(worker).front();
  v1::Frame frame = hello_of({broker, 0}, {broker.claim_of(held, 1)});
  frame.mutable_hello()->set_store("short");
  broker.say(other, frame);
  EXPECT_TRUE(all_stale(welcome_of(broker, other)));
}

}  // namespace
}  // namespace weir::broker::core::testing
