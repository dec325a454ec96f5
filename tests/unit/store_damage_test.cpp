// What a disk gives back otherwise than it was written is found, named and set aside: never delivered, never a crash.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "store_fixture.hpp"
#include "weir/broker/core/core.hpp"
#include "weir/broker/delivering.hpp"
#include "weir/broker/store/check_store.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/pages.hpp"
#include "weir/broker/store/sums.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using Id = std::pair<SegmentNumber, std::uint32_t>;

constexpr SegmentNumber in_records = 7;   ///< messages of this one are records from the start
constexpr SegmentNumber long_bodies = 5;  ///< and of this one are long
constexpr std::uint32_t in_each = 12;

/// What message `index` of a segment says: it names itself, so that no other's bytes pass for it.
std::string body_of(SegmentNumber segment, std::uint32_t index) {
  std::string body = "<" + std::to_string(segment) + "." + std::to_string(index) + ":";
  body.resize(segment == long_bodies ? 5'000 : 20 + (segment * 31 + index * 17) % 300,
              static_cast<char>('a' + (segment + index) % 26));
  return body;
}

core::MoveMessage moved(Place place, core::Source source, bool dead) {
  core::MoveMessage move;
  move.place = place;
  move.lane = 4;
  move.source = source;
  move.dead = dead;
  move.at_us = 1;
  move.attempts = 1;
  v1::Attempt attempt;
  attempt.set_number(1);
  attempt.set_error("no answer");
  move.attempt = core::Attempted(attempt);
  return move;
}

/// Some of everything, in several commits, with pages that are free again. All of it that is left to deliver.
std::set<Id> fill(LmdbStore& store) {
  core::PutQueue queue = queue_of(1, "orders");
  queue.state.set_segments_reserved(1000);
  for (int lane = 0; lane < 10; ++lane) queue.state.add_delivery_marks(1000);
  store.commit(batch_of(queue, segment_of({1, 4, 100}, {std::string(40'000, 'x')})));
  std::set<Id> all;
  for (SegmentNumber number = 1; number < in_records; ++number) {
    std::vector<std::string> bodies;
    for (std::uint32_t i = 0; i < in_each; ++i) bodies.push_back(body_of(number, i));
    store.commit(batch_of(segment_of({1, 4, number}, bodies)));
    for (std::uint32_t i = 0; i < in_each; ++i) all.insert({number, i});
  }
  store.commit(batch_of(core::DropSegment{{1, 4, 100}}));
  core::Batch batch;
  for (std::uint32_t i = 0; i < in_each; ++i) {
    core::PutRecord put;
    put.place = {1, in_records, i};
    put.record.set_type("t.T");
    put.record.set_priority(4);
    put.record.set_due_us(1);
    protocol::put_name({*PublisherId::from("its publisher id"), i}, *put.record.mutable_name());
    put.body = Slice::of(body_of(in_records, i));
    batch.writes.emplace_back(put);
    all.insert({in_records, i});
  }
  core::NoteSession note;
  note.token.bytes.fill(3);
  note.note.set_group("shop");
  batch.writes.emplace_back(note);
  core::PutPublisher publisher;
  publisher.publisher = *PublisherId::from(std::string(16, '\4'));
  publisher.mark.set_mark(9);
  batch.writes.emplace_back(publisher);
  store.commit(batch);
  store.commit(batch_of(moved({1, 1, 0}, core::Source::segment, false), moved({1, 1, 1}, core::Source::segment, true),
                        moved({1, in_records, 2}, core::Source::record, true),
                        core::PutSettled{{1, 4, 1}, std::string("\7\0", 2)}));
  all.erase({1, 2});
  return all;
}

/// A broker and one worker that takes all there is, by hand. Some fail once, some die and are replayed.
class Drain {
 public:
  explicit Drain(LmdbStore& store) : store_(store) {}

  /// Everything that was delivered; each body is looked at.
  const std::set<Id>& run(const std::function<void()>& before_it_settles = {});

  std::set<Id> delivered;
  std::vector<Id> wrong;
  std::string notes;
  v1::Queues queues;
  std::size_t found = 0;  ///< damaged values that the start named

 private:
  void pass(Duration time);
  void attach();
  void carry_out();
  void deliver(core::SendDelivery& action);
  void settle(bool all);
  void commit();
  void say(v1::Frame frame);

  LmdbStore& store_;
  Now now_{Instant{Duration{1h}}, WallTime{Duration{1'000'000s}}};
  std::optional<core::Core> core_;
  core::Actions actions_;
  Delivering delivering_;
  std::uint64_t frames_ = 0;
  struct Held {
    std::uint64_t lease{};
    Id id;
    std::uint32_t attempt{};
  };
  std::vector<Held> held_;
};

const std::set<Id>& Drain::run(const std::function<void()>& before_it_settles) {
  core::Config config;
  config.queues = {{"orders", {}}};
  config.queues[0].policy.attempts = 3;
  core::Recovered recovered = store_.recover();
  found = recovered.damaged.size();
  core_.emplace(config, std::move(recovered), store_, now_);
  commit();
  for (int i = 0; i < 8; ++i) pass(2s);  // the session that is noted does not come back
  attach();
  pass(1s);
  if (before_it_settles) before_it_settles();
  for (int i = 0; i < 6; ++i) {
    settle(false);
    pass(10s);
  }
  std::vector<Place> dead;
  store_.snapshot()->dead_after(1, std::nullopt, 1000, dead);
  core_->replay_dead(now_, 0, 0, dead, actions_);
  commit();
  pass(1s);
  settle(true);
  pass(1s);
  core_->list_queues(queues);
  return delivered;
}

void Drain::pass(Duration time) {
  now_.instant += time;
  now_.wall += time;
  core_->tick(now_, actions_);
  carry_out();
  commit();
}

void Drain::attach() {
  v1::Frame frame;
  auto& hello = *frame.mutable_hello();
  hello.set_magic(protocol::magic);
  hello.set_version_lowest(protocol::version_lowest);
  hello.set_version_highest(protocol::version_highest);
  hello.set_kind(v1::WORKER);
  hello.set_process_token(std::string(16, '\10'));
  hello.add_attach()->set_queue("orders");
  hello.mutable_window()->set_epoch(1);
  hello.mutable_window()->set_messages(1000);
  hello.mutable_window()->set_bytes(1 << 24);
  say(std::move(frame));
  commit();
}

void Drain::say(v1::Frame frame) {
  frame.set_number(++frames_);
  core_->frame(now_, 1, frame, {}, actions_);
  carry_out();
}

void Drain::carry_out() {
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    core::Action action = std::move(actions_[i]);
    if (auto* delivery = std::get_if<core::SendDelivery>(&action)) deliver(*delivery);
    if (const auto* note = std::get_if<core::Note>(&action)) {
      notes += note->event;
      for (const auto& [name, value] : note->fields) notes.append(" ").append(name).append("=").append(value);
      notes += "\n";
    }
  }
  actions_.clear();
}

void Drain::deliver(core::SendDelivery& action) {
  std::vector<core::Piece> damaged;
  const auto snapshot = store_.snapshot();
  const async::ZmqFrame bytes = delivering_.frame(action, *snapshot, damaged);
  v1::Frame frame;
  std::string_view run = *protocol::decode(bytes.bytes(), frame);
  for (const auto& one : frame.deliver().deliveries()) {
    for (int i = 0; i < one.index().lengths_size(); ++i) {
      const Id id{one.segment(), one.first() + static_cast<std::uint32_t>(i)};
      if (run.substr(0, one.index().lengths(i)) != body_of(id.first, id.second)) wrong.push_back(id);
      run.remove_prefix(one.index().lengths(i));
      delivered.insert(id);
      held_.push_back({one.lease() + static_cast<std::uint64_t>(i), id, one.attempt()});
    }
  }
  if (!damaged.empty()) core_->undelivered(now_, action.to, damaged, actions_);
}

void Drain::settle(bool all) {
  for (const Held& held : std::exchange(held_, {})) {
    v1::Frame frame;
    auto* run = frame.mutable_settle()->add_runs();
    run->set_lease(held.lease);
    run->set_count(1);
    const bool fails = !all && held.attempt == 1 && held.id.second % 4 == 0;
    const bool dies = !all && held.id.second % 4 == 1;
    run->set_outcome(fails ? v1::RETRY : dies ? v1::REJECT : v1::ACK);
    if (fails) run->set_delay_us(0);
    say(std::move(frame));
  }
}

void Drain::commit() {
  for (int i = 0; i < 8 && core_->wants_commit(); ++i) {
    store_.commit(core_->seal(now_));
    core_->damaged(store_.damaged());
    core_->committed(now_, actions_);
    carry_out();
  }
}

class StoreDamage : public StoreTest {
 protected:
  /// In memory where there is room for it: a start syncs, and there are many.
  StoreDamage() : StoreTest(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path()) {}

  [[nodiscard]] std::filesystem::path file() const { return folder_ / "data" / "data.mdb"; }
  [[nodiscard]] std::string read() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }
  /// Turns the lowest bit of the last byte of `text` over, everywhere where it stands in the file: copies on free pages
  /// too. Also while the store is open: its map shows it.
  void damage(const std::string& text) const {
    const std::string bytes = read();
    const int out = ::open(file().c_str(), O_WRONLY | O_CLOEXEC);
    int times = 0;
    for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1), ++times) {
      const std::size_t last = at + text.size() - 1;
      const char byte = static_cast<char>(bytes[last] ^ 1);
      EXPECT_EQ(::pwrite(out, &byte, 1, static_cast<off_t>(last)), 1);
    }
    ::close(out);
    EXPECT_GT(times, 0) << "'" << text << "' is not in the file";
  }
  std::set<Id> fill_new() const {
    LmdbStore store(settings());
    return fill(store);
  }
  /// What is missing in `delivered` of `all`.
  static std::set<SegmentNumber> segments_missing(const std::set<Id>& all, const std::set<Id>& delivered) {
    std::set<SegmentNumber> missing;
    for (const Id& id : all) {
      if (!delivered.contains(id)) missing.insert(id.first);
    }
    return missing;
  }
};

TEST(Sums, AreCrc32cOfKeyAndValue) {
  sums::Sum sum("1234");
  sum.add("56789");
  EXPECT_EQ(sum.value(), 0xE3069283U);  // the check value of CRC-32C/iSCSI
}

TEST_F(StoreDamage, AWholeStoreIsDrainedWholeAndIsFoundWhole) {
  const std::set<Id> all = fill_new();
  EXPECT_TRUE(check_store(folder_ / "data").whole());
  LmdbStore store(settings());
  Drain drain(store);

  EXPECT_EQ(drain.run(), all);
  EXPECT_THAT(drain.wrong, IsEmpty());
  EXPECT_EQ(drain.queues.queues(0).damaged(), 0U);
  EXPECT_EQ(drain.queues.queues(0).ready() + drain.queues.queues(0).delayed() + drain.queues.queues(0).leased(), 0U);
}

TEST_F(StoreDamage, ADamagedSegmentIsSetAsideAndNamedAndTheRestGoesOn) {
  const std::set<Id> all = fill_new();
  damage("<2.3:");
  {
    LmdbStore store(settings());
    Drain drain(store);

    EXPECT_THAT(segments_missing(all, drain.run()), ElementsAre(2));
    EXPECT_EQ(drain.delivered.size(), all.size() - in_each);
    EXPECT_THAT(drain.wrong, IsEmpty());
    EXPECT_THAT(drain.notes, HasSubstr("store_value_damaged queue=orders what=segment orders/2"));
    EXPECT_EQ(drain.queues.queues(0).damaged(), in_each);
    EXPECT_EQ(drain.queues.queues(0).leased() + drain.queues.queues(0).ready() + drain.queues.queues(0).delayed(), 0U);
    EXPECT_EQ(drain.queues.queues(0).bytes(), 0U);
  }
  // Nothing of it was deleted: the next start finds it again.
  const StoreCheck check = check_store(folder_ / "data");
  ASSERT_EQ(check.damaged.size(), 1U);
  EXPECT_EQ(check.damaged[0].what, "segment 2");
  EXPECT_EQ(check.damaged[0].messages, in_each);
  LmdbStore store(settings());
  Drain again(store);
  EXPECT_THAT(again.run(), IsEmpty());
  EXPECT_EQ(again.queues.queues(0).damaged(), in_each);
}

TEST_F(StoreDamage, ADamagedRecordIsSetAsideAloneAndItsNeighboursAreDelivered) {
  const std::set<Id> all = fill_new();
  damage("<7.5:");
  LmdbStore store(settings());
  Drain drain(store);

  EXPECT_EQ(drain.run().size(), all.size() - 1);
  EXPECT_FALSE(drain.delivered.contains(Id{in_records, 5}));
  EXPECT_THAT(drain.wrong, IsEmpty());
  EXPECT_THAT(drain.notes, HasSubstr("what=orders/7.5"));
  EXPECT_EQ(drain.queues.queues(0).damaged(), 1U);
  EXPECT_EQ(drain.queues.queues(0).leased() + drain.queues.queues(0).ready() + drain.queues.queues(0).delayed(), 0U);
}

TEST_F(StoreDamage, ADamagedDeadLetterIsListedAndCanBePurgedButNotReplayed) {
  fill_new();
  damage("<7.2:");
  LmdbStore store(settings());
  core::Config config;
  config.queues = {{"orders", {}}};
  const Now now{Instant{Duration{1h}}, WallTime{Duration{1'000'000s}}};
  core::Core core(config, store.recover(), store, now);
  core::Actions actions;
  std::vector<Place> dead;
  store.snapshot()->dead_after(1, std::nullopt, 10, dead);

  EXPECT_THAT(dead, ElementsAre(Place{1, 1, 1}, Place{1, in_records, 2}));
  EXPECT_EQ(core.replay_dead(now, 0, 0, {{1, in_records, 2}}, actions), 0U);
  EXPECT_EQ(core.purge_dead(now, 0, 0, {{1, in_records, 2}}, actions), 1U);
}

TEST_F(StoreDamage, WhatIsDamagedWhileItIsHeldCanBeAckedAndWhatFailsIsSetAside) {
  const std::set<Id> all = fill_new();
  LmdbStore store(settings());
  Drain drain(store);

  drain.run([this] {
    damage("<3.4:");
    damage("<7.5:");
  });

  EXPECT_EQ(drain.delivered, all);  // all of it was in the worker's hands before
  EXPECT_THAT(drain.wrong, IsEmpty());
  EXPECT_THAT(drain.notes, HasSubstr("orders/3.4"));
  EXPECT_THAT(drain.notes, HasSubstr("orders/7.5"));
  // 3.0, 3.4, 3.8 failed, and 3.1, 3.5, 3.9 were to die; 7.5 was to die. All others were acked.
  EXPECT_EQ(drain.queues.queues(0).damaged(), 7U);
  EXPECT_EQ(drain.queues.queues(0).leased() + drain.queues.queues(0).ready() + drain.queues.queues(0).delayed(), 0U);
}

TEST_F(StoreDamage, ADamagedHeadCostsItsSegmentAndADamagedStateItsQueue) {
  {
    LmdbStore store(settings());
    fill(store);
    store.commit(batch_of(queue_of(2, "letters"), segment_of({2, 4, 1}, {"<letter>"})));
  }
  damage("letters");
  LmdbStore store(settings());
  const core::Recovered found = store.recover();

  ASSERT_EQ(found.queues.size(), 1U);
  EXPECT_EQ(found.queues[0].state.name(), "orders");
  EXPECT_EQ(found.highest_queue, 2U) << "a new queue must not get its number";
  ASSERT_EQ(found.damaged.size(), 2U);
  EXPECT_THAT(found.damaged[0].what, HasSubstr("a queue's state"));
  EXPECT_THAT(found.damaged[1].what, HasSubstr("queue number 2"));
  EXPECT_EQ(found.damaged[1].messages, Messages{1});
}

std::size_t flipped_bit = 0;
/// Which bit it was that ended this test program.
void say_the_bit(int signal) {
  std::fprintf(stderr, "signal %d after bit %zu had been turned over\n", signal, flipped_bit);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

/// A bit of the whole file turns over, one at a time.
TEST_F(StoreDamage, NoBitThatTurnsOverIsServedOrEndsTheBroker) {
  const char* const wanted = std::getenv("WEIR_STORE_FLIPS");  // for longer campaigns
  const int flips = wanted == nullptr ? 1'000 : std::atoi(wanted);
  const char* const seed = std::getenv("WEIR_STORE_SEED");
  std::mt19937_64 random(seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10));
  const std::set<Id> all = fill_new();
  const std::string whole = read();
  int refused = 0;
  int set_aside = 0;
  for (const int fatal : {SIGABRT, SIGBUS, SIGSEGV}) std::signal(fatal, say_the_bit);
  for (int i = 0; i < flips; ++i) {
    const std::size_t bit = random() % (whole.size() * 8);
    flipped_bit = bit;
    SCOPED_TRACE("bit " + std::to_string(bit) + " of " + std::to_string(whole.size() * 8));
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    write(bytes);
    try {
      LmdbStore store(settings());
      Drain drain(store);
      drain.run();
      ASSERT_THAT(drain.wrong, IsEmpty());
      ASSERT_TRUE(std::includes(all.begin(), all.end(), drain.delivered.begin(), drain.delivered.end()));
      for (const auto& queue : drain.queues.queues()) {
        ASSERT_LE(queue.ready() + queue.delayed() + queue.leased() + queue.damaged(), all.size())
            << queue.ShortDebugString();
      }
      if (drain.delivered == all) continue;
      ++set_aside;
      // What is missing was said, at the start or while it ran.
      ASSERT_TRUE(drain.found > 0 || drain.notes.find("store_value_damaged") != std::string::npos) << drain.notes;
    } catch (const StoreError& error) {
      ++refused;
    }
  }
  RecordProperty("refused", refused);
  RecordProperty("set_aside", set_aside);
  std::cout << flips << " bits: " << refused << " times the store was refused, " << set_aside
            << " times something was set aside\n";
}

}  // namespace
}  // namespace weir::broker
