// Each write comes back as it was asked for, also after the store is opened again.
#include <gmock/gmock.h>

#include "store_fixture.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker {
namespace {

using core::Source;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr core::SegmentKey first_segment{1, 4, 1};

core::MoveMessage move_of(Place place, Source source, std::int64_t at_us) {
  core::MoveMessage move;
  move.place = place;
  move.lane = 4;
  move.source = source;
  move.at_us = at_us;
  move.attempts = 1;
  move.lease = {3, 77};
  v1::Attempt attempt;
  attempt.set_number(1);
  attempt.set_error("no answer");
  move.attempt = core::Attempted(attempt);
  return move;
}

core::MoveMessage bury(core::MoveMessage move) {
  move.dead = true;
  return move;
}

core::PutRecord record_of(Place place, std::int64_t due_us, const std::string& body = "body",
                          core::DueBy by = core::DueBy::broker) {
  core::PutRecord put;
  put.place = place;
  put.record.set_type("t.T");
  put.record.set_priority(4);
  put.record.set_due_us(due_us);
  put.record.set_by_wall(by == core::DueBy::wall);
  protocol::put_name({*PublisherId::from("its publisher id"), place.index}, *put.record.mutable_name());
  put.body = Slice::of(body);
  return put;
}

v1::Record parsed(std::optional<std::string_view> bytes) {
  v1::Record record;
  EXPECT_TRUE(bytes && record.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())));
  return record;
}

struct Walked {
  std::vector<std::uint32_t> indexes;
  core::DueWalk walk;
};

Walked walk_due(LmdbStore& store, core::DueCursor after, std::int64_t until_us, std::size_t most,
                const core::Places& but_for = {}, core::DueBy by = core::DueBy::broker) {
  std::vector<core::RecordHead> heads;
  Walked walked;
  walked.walk = store.snapshot()->due({1, by, after, until_us, most}, but_for, heads);
  for (const auto& head : heads) walked.indexes.push_back(head.place.index);
  return walked;
}

constexpr std::int64_t end_of_time = std::numeric_limits<std::int64_t>::max();

std::vector<std::uint32_t> due_indexes(LmdbStore& store, core::DueCursor after) {
  return walk_due(store, after, end_of_time, 10).indexes;
}

TEST_F(StoreTest, ASegmentIsReadBackAsGeneratedCodeReadsIt) {
  LmdbStore store(settings());
  core::PutSegment put = segment_of(first_segment, {"aa", "bbb"}, 42);
  auto contents = std::make_shared<core::Contents>(*put.contents);
  contents->run = {Slice::of("aab"), Slice::of("bb")};
  put.contents = contents;

  store.commit(batch_of(queue_of(1, "orders"), put));

  const auto snapshot = store.snapshot();
  const auto bytes = snapshot->segment(first_segment);
  ASSERT_TRUE(bytes.has_value());
  v1::Segment segment;
  ASSERT_TRUE(segment.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())));
  EXPECT_EQ(segment.run(), "aabbb");
  EXPECT_EQ(segment.published_at_us(), 42);
  EXPECT_THAT(segment.index().lengths(), ElementsAre(2, 3));
  v1::Index index;
  std::int64_t published_at_us = 0;
  EXPECT_EQ(*protocol::decode(*bytes, index, published_at_us), "aabbb");
  EXPECT_EQ(snapshot->segment({1, 5, 1}), std::nullopt);
}

TEST_F(StoreTest, AStartFindsHeadsBitsRecordsDeadSessionsAndPublishers) {
  const ProcessToken token{{1, 2, 3}};
  const PublisherId publisher{{9}};
  {
    LmdbStore store(settings());
    static_cast<void>(store.recover());
    core::PutQueue orders = queue_of(1, "orders");
    orders.state.set_published(12);
    orders.state.add_delivery_marks(7);
    core::NoteSession note{token, 5, {}};
    note.note.set_group("shop");
    core::PutPublisher mark{publisher, {}};
    mark.mark.set_mark(31);
    store.commit(batch_of(orders, queue_of(2, "emails"), segment_of({1, 4, 2}, {"c"}),
                          segment_of(first_segment, {"aa", "bbb", "c"}), segment_of({1, 0, 9}, {"d"}),
                          segment_of({2, 4, 1}, {"e"}), core::PutSettled{first_segment, "\x05"},
                          record_of({1, 3, 0}, 100, "12345"), record_of({1, 3, 1}, 100, "123"), note, mark));
    store.commit(batch_of(bury(move_of({1, 3, 1}, Source::record, 500))));
  }

  LmdbStore store(settings());
  const core::Recovered recovered = store.recover();

  EXPECT_EQ(recovered.incarnation, 2U);
  ASSERT_THAT(recovered.queues, SizeIs(2));
  const auto& orders = recovered.queues[0];
  EXPECT_EQ(orders.id, 1U);
  EXPECT_EQ(orders.state.name(), "orders");
  EXPECT_EQ(orders.state.published(), 12U);
  EXPECT_THAT(orders.state.delivery_marks(), ElementsAre(7));
  ASSERT_THAT(orders.segments, SizeIs(3));
  EXPECT_EQ(orders.segments[0].lane, 0);
  EXPECT_EQ(orders.segments[0].number, 9U);
  EXPECT_EQ(orders.segments[1].number, 1U);
  EXPECT_EQ(orders.segments[1].head.settled(), "\x05");
  EXPECT_EQ(orders.segments[1].head.count(), 3U);
  EXPECT_EQ(orders.segments[1].head.bytes(), 6U);
  EXPECT_EQ(orders.segments[2].number, 2U);
  EXPECT_EQ(orders.records, (Load{Messages{1}, Bytes{5}}));
  EXPECT_EQ(orders.dead, Messages{1});
  EXPECT_THAT(recovered.queues[1].segments, SizeIs(1));
  ASSERT_THAT(recovered.sessions, SizeIs(1));
  EXPECT_EQ(recovered.sessions[0].token, token);
  EXPECT_EQ(recovered.sessions[0].shard, 5U);
  EXPECT_EQ(recovered.sessions[0].note.group(), "shop");
  ASSERT_THAT(recovered.publishers, SizeIs(1));
  EXPECT_EQ(recovered.publishers[0].id, publisher);
  EXPECT_EQ(recovered.publishers[0].mark.mark(), 31U);
}

TEST_F(StoreTest, WhatWasDroppedIsGone) {
  const ProcessToken token{{1}};
  const PublisherId publisher{{2}};
  LmdbStore store(settings());
  store.commit(batch_of(queue_of(1, "orders"), segment_of(first_segment, {"a"}), record_of({1, 2, 0}, 100),
                        record_of({1, 2, 1}, 100), core::NoteSession{token, 0, {}}, core::PutPublisher{publisher, {}}));
  store.commit(batch_of(bury(move_of({1, 2, 1}, Source::record, 5))));

  store.commit(batch_of(core::DropSegment{first_segment}, core::DropRecord{{1, 2, 0}}, core::DropDead{{1, 2, 1}},
                        core::ForgetSession{token, 0}, core::DropPublisher{publisher}));

  EXPECT_EQ(store.snapshot()->segment(first_segment), std::nullopt);
  EXPECT_EQ(store.snapshot()->record({1, 2, 0}), std::nullopt);
  EXPECT_EQ(store.snapshot()->dead({1, 2, 1}), std::nullopt);
  EXPECT_THAT(due_indexes(store, {}), IsEmpty());
  const core::Recovered recovered = store.recover();
  EXPECT_THAT(recovered.queues[0].segments, IsEmpty());
  EXPECT_EQ(recovered.queues[0].records, Load{});
  EXPECT_EQ(recovered.queues[0].dead, Messages{0});
  EXPECT_THAT(recovered.sessions, IsEmpty());
  EXPECT_THAT(recovered.publishers, IsEmpty());
}

TEST_F(StoreTest, AMessageMovedFromItsSegmentKeepsItsColumnsAndBody) {
  LmdbStore store(settings());
  core::PutSegment put = segment_of(first_segment, {"aa", "bbb", "c"}, 42);
  auto contents = std::make_shared<core::Contents>(*put.contents);
  v1::Index& index = contents->index;
  index.add_types("t.Other");
  for (const std::uint32_t type : {0U, 1U, 0U}) index.add_type_of(type);
  for (const char* key : {"k0", "k1", "k2"}) index.add_key(key);
  for (const char* id : {"u0", "u1", "u2"}) index.add_unique_id(id);
  put.contents = contents;
  store.commit(batch_of(queue_of(1, "orders"), put));

  store.commit(batch_of(move_of({1, 1, 1}, Source::segment, 9000), bury(move_of({1, 1, 2}, Source::segment, 77))));

  const auto snapshot = store.snapshot();
  const v1::Record retried = parsed(snapshot->record({1, 1, 1}));
  EXPECT_EQ(retried.type(), "t.Other");
  EXPECT_EQ(retried.key(), "k1");
  EXPECT_EQ(retried.unique_id(), "u1");
  EXPECT_EQ(protocol::read_name(retried.name()), (MessageName{*PublisherId::from("its publisher id"), 1001}));
  EXPECT_EQ(retried.body(), "bbb");
  EXPECT_EQ(retried.priority(), 4U);
  EXPECT_EQ(retried.published_at_us(), 42);
  EXPECT_EQ(retried.attempts(), 1U);
  EXPECT_EQ(retried.due_us(), 9000);
  EXPECT_EQ(retried.incarnation(), 3U);
  EXPECT_EQ(retried.lease(), 77U);
  ASSERT_EQ(retried.history_size(), 1);
  EXPECT_EQ(retried.history(0).error(), "no answer");
  const v1::Record dead = parsed(snapshot->dead({1, 1, 2}));
  EXPECT_EQ(dead.body(), "c");
  EXPECT_EQ(protocol::read_name(dead.name()), (MessageName{*PublisherId::from("its publisher id"), 1002}));
  EXPECT_EQ(dead.dead_since_us(), 77);
  EXPECT_EQ(dead.due_us(), 0);
  EXPECT_EQ(snapshot->record({1, 1, 2}), std::nullopt);
  const auto head = snapshot->record_head({1, 1, 1});
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->type, "t.Other");
  EXPECT_EQ(head->bytes, Bytes{3});
  EXPECT_EQ(head->name, (MessageName{*PublisherId::from("its publisher id"), 1001}));
  EXPECT_EQ(head->due_us, 9000);
  EXPECT_EQ(head->lease, (LeaseId{3, 77}));
}

TEST_F(StoreTest, ARecordRetriedTwiceHasOneDueTimeAndBothAttempts) {
  LmdbStore store(settings());
  store.commit(batch_of(queue_of(1, "orders"), segment_of(first_segment, {"a"})));
  store.commit(batch_of(move_of({1, 1, 0}, Source::segment, 1'000'000)));

  core::MoveMessage again = move_of({1, 1, 0}, Source::record, 9'000'000);
  again.attempts = 2;
  store.commit(batch_of(again));

  const v1::Record record = parsed(store.snapshot()->record({1, 1, 0}));
  EXPECT_EQ(record.history_size(), 2);
  EXPECT_EQ(record.attempts(), 2U);
  EXPECT_EQ(record.body(), "a");
  EXPECT_EQ(due_indexes(store, {}).size(), 1U);
  EXPECT_THAT(due_indexes(store, {1'000'000, 1, 0}), ElementsAre(0));
  EXPECT_THAT(due_indexes(store, {9'000'000, 1, 0}), IsEmpty());
}

TEST_F(StoreTest, AReplayedDeadLetterIsARecordWithItsHistoryAndAMarkOfIt) {
  LmdbStore store(settings());
  store.commit(batch_of(queue_of(1, "orders"), segment_of(first_segment, {"a"})));
  store.commit(batch_of(bury(move_of({1, 1, 0}, Source::segment, 5))));

  store.commit(batch_of(core::ReplayDead{{1, 1, 0}, 600}));

  EXPECT_EQ(store.snapshot()->dead({1, 1, 0}), std::nullopt);
  const v1::Record record = parsed(store.snapshot()->record({1, 1, 0}));
  EXPECT_EQ(record.attempts(), 0U);
  ASSERT_EQ(record.history_size(), 2);
  EXPECT_FALSE(record.history(0).replayed());
  EXPECT_TRUE(record.history(1).replayed());
  EXPECT_EQ(record.history(1).started_at_us(), 600);
  EXPECT_EQ(record.due_us(), 600);
  EXPECT_EQ(record.dead_since_us(), 0);
  EXPECT_EQ(record.body(), "a");
  EXPECT_THAT(due_indexes(store, {}), ElementsAre(0));
}

TEST_F(StoreTest, AWalkGivesWhatIsDueABucketAfterTheOtherAndSaysWhenTheNextIs) {
  LmdbStore store(settings());
  // One bucket of 64 ms, later places due earlier; then another bucket; and another queue's.
  store.commit(batch_of(queue_of(1, "orders"), record_of({1, 1, 0}, 63'000), record_of({1, 1, 1}, 40'000),
                        record_of({1, 1, 2}, 20'000), record_of({1, 1, 3}, 65'000), record_of({1, 1, 4}, 20'000),
                        record_of({2, 1, 9}, 1)));

  const Walked first = walk_due(store, {}, 40'000, 10);
  EXPECT_THAT(first.indexes, ElementsAre(1, 2, 4));
  EXPECT_EQ(first.walk.next_us, 63'000);
  EXPECT_EQ(first.walk.at, core::DueCursor{});  // the first of the bucket is not due yet

  const Walked second = walk_due(store, first.walk.at, 63'000, 10, {Place{1, 1, 1}, Place{1, 1, 2}, Place{1, 1, 4}});
  EXPECT_THAT(second.indexes, ElementsAre(0));
  EXPECT_EQ(second.walk.next_us, 64'000);  // the next bucket's time: nobody has looked into it
  EXPECT_EQ(second.walk.at, (core::DueCursor{0, 1, 4}));

  EXPECT_THAT(walk_due(store, second.walk.at, 64'000, 10).indexes, IsEmpty());
  EXPECT_EQ(walk_due(store, second.walk.at, 64'000, 10).walk.next_us, 65'000);
  const Walked last = walk_due(store, second.walk.at, 65'000, 10);
  EXPECT_THAT(last.indexes, ElementsAre(3));
  EXPECT_EQ(last.walk.next_us, end_of_time);
}

TEST_F(StoreTest, WhatIsDueByTheWallClockStandsApart) {
  LmdbStore store(settings());
  store.commit(batch_of(queue_of(1, "orders"), record_of({1, 1, 0}, 10'000),
                        record_of({1, 1, 1}, 20'000, "body", core::DueBy::wall)));
  EXPECT_THAT(walk_due(store, {}, 40'000, 10).indexes, ElementsAre(0));
  EXPECT_THAT(walk_due(store, {}, 40'000, 10, {}, core::DueBy::wall).indexes, ElementsAre(1));
  const auto head = store.snapshot()->record_head({1, 1, 1});
  ASSERT_TRUE(head);
  EXPECT_EQ(head->due_by, core::DueBy::wall);
  // A fate of its own is due by the broker's clock; one that says no clock finds it all the same.
  store.commit(batch_of(core::DropRecord{{1, 1, 1}, 20'000, core::DueBy::broker}));
  EXPECT_THAT(walk_due(store, {}, 40'000, 10, {}, core::DueBy::wall).indexes, IsEmpty());
}

TEST_F(StoreTest, AWalkOfManyThatAreDueAtOnceLooksAtEachOnce) {
  LmdbStore store(settings());
  core::Batch batch = batch_of(queue_of(1, "orders"));
  for (std::uint32_t i = 0; i < 5000; ++i) batch.writes.emplace_back(record_of({1, 1, i}, 70'000));
  store.commit(batch);

  core::DueCursor at;
  std::size_t looked_at = 0;
  std::size_t given = 0;
  for (std::int64_t next = 0; next <= 70'000;) {
    const Walked walked = walk_due(store, at, 70'000, 256);
    looked_at += walked.indexes.size() + walked.walk.again;
    given += walked.indexes.size();
    at = walked.walk.at;
    next = walked.walk.next_us;
  }

  EXPECT_EQ(given, 5000U);
  EXPECT_EQ(looked_at, 5000U);
}

TEST_F(StoreTest, AWalkLooksAtNoMoreThanItMayOfWhatIsNotDue) {
  LmdbStore store(settings());
  core::Batch batch = batch_of(queue_of(1, "orders"));
  for (std::uint32_t i = 0; i < 20'000; ++i) batch.writes.emplace_back(record_of({1, 1, i}, 70'000));
  store.commit(batch);

  const Walked walked = walk_due(store, {}, 69'000, 256);

  EXPECT_THAT(walked.indexes, IsEmpty());
  EXPECT_EQ(walked.walk.again, core::looked_at_most);
  EXPECT_EQ(walked.walk.at, core::DueCursor{});
}

TEST_F(StoreTest, DeadLettersArePagedInTheOrderOfPlaces) {
  LmdbStore store(settings());
  store.commit(
      batch_of(queue_of(1, "orders"), segment_of(first_segment, {"a", "b", "c"}), segment_of({2, 4, 1}, {"d"})));
  store.commit(batch_of(bury(move_of({1, 1, 2}, Source::segment, 1)), bury(move_of({1, 1, 0}, Source::segment, 2)),
                        bury(move_of({1, 1, 1}, Source::segment, 3)), bury(move_of({2, 1, 0}, Source::segment, 3))));
  std::vector<Place> places;

  store.snapshot()->dead_after(1, std::nullopt, 2, places);
  EXPECT_THAT(places, ElementsAre(Place{1, 1, 0}, Place{1, 1, 1}));
  store.snapshot()->dead_after(1, places.back(), 9, places);
  EXPECT_THAT(places, ElementsAre(Place{1, 1, 0}, Place{1, 1, 1}, Place{1, 1, 2}));
}

TEST_F(StoreTest, ASnapshotSeesOneMomentAndABatchIsAllOrNothing) {
  LmdbStore store(settings());
  store.commit(batch_of(queue_of(1, "orders")));
  const auto before = store.snapshot();

  core::MoveMessage beyond = move_of({1, 1, 9}, Source::segment, 1);
  core::Batch broken = batch_of(segment_of(first_segment, {"a"}), beyond);
  EXPECT_THROW(store.commit(broken), StoreBroken);
  EXPECT_EQ(store.snapshot()->segment(first_segment), std::nullopt);
  store.commit(batch_of(segment_of(first_segment, {"a"})));

  EXPECT_EQ(before->segment(first_segment), std::nullopt);
  EXPECT_NE(store.snapshot()->segment(first_segment), std::nullopt);
}

TEST_F(StoreTest, AMessageOf16MiBIsKeptWhole) {
  LmdbStore store(settings());
  const std::string body(16 * 1024 * 1024, 'x');
  store.commit(batch_of(queue_of(1, "orders"), segment_of(first_segment, {body})));

  store.commit(batch_of(move_of({1, 1, 0}, Source::segment, 1), core::DropSegment{first_segment}));

  EXPECT_EQ(parsed(store.snapshot()->record({1, 1, 0})).body(), body);
}

TEST_F(StoreTest, TheIncarnationRisesWithEachStart) {
  for (std::uint32_t start = 1; start <= 4; ++start) {
    LmdbStore store(settings());
    EXPECT_EQ(store.recover().incarnation, start);
  }
}

TEST_F(StoreTest, ItIsTheSameStoreAtEachStartAndCountsItsCommits) {
  StoreId id;
  {
    LmdbStore store(settings());
    const core::Recovered recovered = store.recover();
    id = recovered.store;
    EXPECT_NE(id, StoreId{});
    EXPECT_EQ(recovered.commits, 0U);
    for (int i = 0; i < 3; ++i) store.commit(batch_of(queue_of(1, "orders")));
  }
  {
    LmdbStore store(settings());
    const core::Recovered recovered = store.recover();
    EXPECT_EQ(recovered.store, id);
    EXPECT_EQ(recovered.commits, 3U) << "a start is no commit";
    store.commit(batch_of());
  }
  EXPECT_EQ(LmdbStore(settings()).recover().commits, 4U);
}

TEST_F(StoreTest, ItKeepsItsStartsAndHowManyCommitsThereWereBeforeEach) {
  std::vector<core::Recovered::Start> before;
  for (std::uint64_t start = 0; start < core::Recovered::starts_most + 3; ++start) {
    LmdbStore store(settings());
    const auto starts = store.recover().starts;
    ASSERT_EQ(starts.size(), std::min<std::size_t>(start + 1, core::Recovered::starts_most));
    EXPECT_EQ(starts.back().commits, start);
    const std::size_t gone = before.size() == starts.size() ? 1 : 0;
    for (std::size_t i = gone; i < before.size(); ++i) EXPECT_EQ(starts[i - gone].id, before[i].id);
    EXPECT_TRUE(before.empty() || before.back().id != starts.back().id);
    before = starts;
    store.commit(batch_of());
  }
}

TEST_F(StoreTest, ACompactedCopyIsTheSameStoreAndACopyKeepsItsCount) {
  const auto copy = folder_ / "copy";
  std::filesystem::create_directories(copy);
  StoreId id;
  {
    LmdbStore store(settings());
    id = store.recover().store;
    for (int i = 0; i < 3; ++i) store.commit(batch_of(queue_of(1, "orders")));
  }
  {
    // LMDB's own number of transactions begins again in such a copy.
    MDB_env* env = nullptr;
    lmdb::check(mdb_env_create(&env), "mdb_env_create");
    lmdb::check(mdb_env_open(env, settings().data.c_str(), MDB_RDONLY, 0644), "mdb_env_open");
    lmdb::check(mdb_env_copy2(env, copy.c_str(), MDB_CP_COMPACT), "mdb_env_copy2");
    mdb_env_close(env);
  }
  StoreSettings of_copy = settings();
  of_copy.data = copy;
  {
    LmdbStore store(of_copy);
    const core::Recovered recovered = store.recover();
    EXPECT_EQ(recovered.store, id);
    EXPECT_EQ(recovered.commits, 3U);
  }
}

TEST_F(StoreTest, AnotherFolderIsAnotherStore) {
  const StoreId one = LmdbStore(settings()).recover().store;
  std::filesystem::remove_all(settings().data);
  EXPECT_NE(LmdbStore(settings()).recover().store, one);
}

}  // namespace
}  // namespace weir::broker
