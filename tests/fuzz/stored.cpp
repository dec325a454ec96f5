// A data folder whose values are damaged: recovered, run and written to. It may be refused in words, and nothing else.
#include <stdlib.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "input.hpp"
#include "targets.hpp"
#include "weir/broker/control.hpp"
#include "weir/broker/core/core.hpp"
#include "weir/broker/delivering.hpp"
#include "weir/broker/store/apply.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb.hpp"
#include "weir/broker/store/recover.hpp"
#include "weir/broker/store/values.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::fuzz {
namespace {

using namespace std::chrono_literals;
namespace core = broker::core;
namespace layout = broker::layout;
namespace lmdb = broker::lmdb;
namespace sums = broker::sums;
namespace values = broker::values;

/// One environment for all inputs. Nothing is ever committed to it: each input is a transaction that is aborted.
class Environment {
 public:
  Environment() {
    std::string folder = (std::filesystem::temp_directory_path() / "weir-fuzz-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    lmdb::check(mdb_env_create(&env_), "mdb_env_create");
    lmdb::check(mdb_env_set_mapsize(env_, 64 << 20), "mdb_env_set_mapsize");
    lmdb::check(mdb_env_set_maxdbs(env_, 16), "mdb_env_set_maxdbs");
    lmdb::check(mdb_env_open(env_, folder.c_str(), MDB_NOSYNC | MDB_NOTLS, 0600), "mdb_env_open");
    lmdb::Transaction txn(env_, 0);
    const auto open = [&](const char* name, MDB_dbi& database) {
      lmdb::check(mdb_dbi_open(txn.get(), name, MDB_CREATE, &database), "mdb_dbi_open");
    };
    open("queues", databases.queues);
    open("segments", databases.segments);
    open("heads", databases.heads);
    open("records", databases.records);
    open("due", databases.due);
    open("dead", databases.dead);
    open("sessions", databases.sessions);
    open("publishers", databases.publishers);
    txn.commit();
    std::filesystem::remove_all(folder);  // the files live on while they are open
  }
  [[nodiscard]] MDB_env* get() const { return env_; }
  broker::Databases databases;

 private:
  MDB_env* env_ = nullptr;
};

/// LmdbSnapshot's answers, from a transaction that is not committed.
class Snapshot final : public core::Snapshot {
 public:
  Snapshot(MDB_txn* txn, const broker::Databases& databases) : txn_(txn), databases_(databases) {}
  std::optional<std::string_view> segment(core::SegmentKey key) override {
    return values::get_split(txn_, databases_.segments, layout::key_of(key).view());
  }
  std::optional<std::string_view> columns(core::SegmentKey key) override {
    return values::get_head(txn_, databases_.segments, layout::key_of(key).view());
  }
  bool is_as_written(core::SegmentKey key, std::string_view stored, std::string_view run) override {
    return sums::is_payload(layout::key_of(key).view(), stored, run);
  }
  std::optional<std::string_view> record(Place place) override {
    return values::get_split(txn_, databases_.records, layout::key_of(place).view());
  }
  std::optional<std::string_view> dead(Place place) override {
    return values::get_split(txn_, databases_.dead, layout::key_of(place).view());
  }
  std::optional<core::RecordHead> record_head(Place place) override {
    const auto stored = record(place);
    if (!stored) return std::nullopt;
    return layout::read_record_head(*stored, place, record_);
  }
  core::DueWalk due(const core::DueSearch& search, const core::Places& but_for,
                    std::vector<core::RecordHead>& out) override {
    const auto& [queue, by, after, until_us, all] = search;
    std::size_t most = all;
    core::DueWalk walk{after, std::numeric_limits<std::int64_t>::max(), 0, {}};
    for (lmdb::Cursor at(txn_, databases_.due); at.next();) {
      if (!layout::is_due_key(at.key())) continue;
      const auto [place, here_by, bucket_us] = layout::read_due_key(at.key());
      const auto value = sums::open(at.key(), at.data());
      const std::int64_t due_us = value ? layout::read_due_value(*value).due_us : bucket_us;
      if (place.queue != queue || here_by != by || core::DueCursor{bucket_us, place.segment, place.index} <= after)
        continue;
      if (due_us > until_us || most == 0) {
        walk.next_us = std::min(walk.next_us, due_us);
      } else if (auto head = but_for.contains(place) || !value ? std::nullopt : record_head(place)) {
        out.push_back(std::move(*head));
        --most;
      } else if (!but_for.contains(place)) {
        walk.damaged.push_back(place);
      }
    }
    return walk;
  }
  void dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) override {
    for (lmdb::Cursor at(txn_, databases_.dead); at.next() && most > 0;) {
      if (!layout::is_place(at.key())) continue;
      const Place place = layout::read_place(at.key());
      if (place.queue != queue || (after && place <= *after)) continue;
      out.push_back(place);
      --most;
    }
  }

 private:
  MDB_txn* txn_;
  const broker::Databases& databases_;
  v1::Record record_;
};

class Store final : public core::Store {
 public:
  Store(MDB_txn* txn, const broker::Databases& databases) : txn_(txn), databases_(databases) {}
  core::Recovered recover() override {
    core::Recovered recovered;
    recovered.incarnation = 7;
    broker::read_all(txn_, databases_, recovered);
    return recovered;
  }
  void commit(const core::Batch& batch) override {
    std::string scratch;
    broker::Apply apply(txn_, databases_, scratch);
    for (const core::Write& write : batch.writes) std::visit(apply, write);
    damaged = apply.damaged();
  }
  std::vector<core::Damage> damaged;
  std::unique_ptr<core::Snapshot> snapshot() override { return std::make_unique<Snapshot>(txn_, databases_); }

 private:
  MDB_txn* txn_;
  const broker::Databases& databases_;
};

std::string id_of(std::uint32_t n) { return std::string(16, static_cast<char>(n)); }

/// What a small store holds, as a broker would have written it, and then the input's damage.
class Play {
 public:
  Play(Input& in, MDB_txn* txn, const broker::Databases& databases)
      : in_(in), txn_(txn), databases_(databases), store_(txn, databases) {}

  void fill();
  void run();

 private:
  /// With its sums, as if Weir had written it, or with what happens to stand at its end.
  void put(MDB_dbi database, std::string_view key, std::string value, bool sealed) {
    if (key.empty() || key.size() > 500) return;
    const std::size_t size = value.size();
    if (sealed && has_payload(database)) {
      value.resize(size + sums::split_bytes);
      const std::size_t begins = in_.byte() % (size + 1);
      sums::Sum payload(key);
      payload.add({value.data() + begins, size - begins});
      sums::seal_split(key, {value.data(), begins}, payload, value.data() + size);
    } else if (sealed) {
      value.resize(size + sums::plain_bytes);
      sums::seal(key, value.data(), size);
    }
    lmdb::put(txn_, database, key, value);
  }
  [[nodiscard]] bool has_payload(MDB_dbi database) const {
    return database == databases_.segments || database == databases_.records || database == databases_.dead;
  }
  /// What stands there, with or without its sums.
  [[nodiscard]] std::optional<std::string> read(MDB_dbi database, std::string_view key, bool with_sums) const {
    const auto stored = with_sums               ? lmdb::get(txn_, database, key)
                        : has_payload(database) ? values::get_head(txn_, database, key)
                                                : values::get(txn_, database, key);
    return stored ? std::optional<std::string>(*stored) : std::nullopt;
  }
  void damage();
  void play(core::Core& core);
  void say(core::Core& core, v1::Frame frame) {
    frame.set_number(++frames_);
    core.frame(now_, 1, frame, {}, actions_);
  }
  void carry_out(core::Core& core);
  void commit(core::Core& core, broker::Control& control);

  Input& in_;
  MDB_txn* txn_;
  const broker::Databases& databases_;
  Store store_;
  Now now_{Instant{Duration{1h}}, WallTime{Duration{1'000'000s}}};
  core::Actions actions_;
  std::uint64_t frames_ = 0;
  broker::Delivering delivering_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> leases_;
};

void Play::fill() {
  core::Batch batch;
  core::PutQueue queue;
  queue.queue = 1;
  queue.state.set_name("orders");
  queue.state.set_segments_reserved(100);
  for (int lane = 0; lane < 5; ++lane) queue.state.add_delivery_marks(3);
  batch.writes.emplace_back(queue);
  auto contents = std::make_shared<core::Contents>();
  v1::Index* const index = &contents->index;
  for (std::uint32_t i = 0; i < 5; ++i) {
    index->add_lengths(10);
    index->add_type_of(i % 2);
    index->add_key("k");
  }
  index->add_types("a.A");
  index->add_types("a.B");
  for (const std::uint32_t count : {2U, 3U}) {
    contents->names.push_back({*PublisherId::from("its publisher id"), count * 10, count});
  }
  contents->run = {Slice::of(std::string(50, 'x'))};
  batch.writes.emplace_back(core::PutSegment{{1, default_lane, 2}, contents, 50, {}});
  core::PutRecord record;
  record.place = {1, 1, 0};
  record.record.set_type("a.A");
  record.record.set_priority(default_lane);
  record.record.set_attempts(1);
  record.record.set_due_us(1);
  record.record.set_name(std::string(24, 'n'));
  record.body = Slice::of("body");
  batch.writes.emplace_back(record);
  core::PutRecord dead = record;
  dead.place = {1, 1, 1};
  batch.writes.emplace_back(dead);
  batch.writes.emplace_back(core::MoveMessage{.place = {1, 1, 1},
                                              .lane = default_lane,
                                              .source = core::Source::record,
                                              .dead = true,
                                              .at_us = 5,
                                              .attempts = 5,
                                              .lease = {1, 3},
                                              .attempt = core::Attempted(v1::Attempt{})});
  core::NoteSession note;
  note.token = *ProcessToken::from(id_of(3));
  note.note.set_group("shop");
  batch.writes.emplace_back(note);
  core::PutPublisher publisher;
  publisher.publisher = *PublisherId::from(id_of(4));
  publisher.mark.set_mark(9);
  batch.writes.emplace_back(publisher);
  store_.commit(batch);
}

void Play::damage() {
  const std::array<MDB_dbi, 8> all{databases_.queues, databases_.segments, databases_.heads,    databases_.records,
                                   databases_.due,    databases_.dead,     databases_.sessions, databases_.publishers};
  const MDB_dbi database = all[in_.below(8)];
  const Place place{1 + in_.below(2), 1 + in_.below(3), in_.below(6)};
  const auto lane = static_cast<Lane>(in_.below(16) == 0 ? in_.byte() : default_lane);
  std::string key;
  if (in_.below(8) == 0) {
    key = in_.take(in_.byte());
  } else if (database == databases_.queues) {
    key = layout::key_of(place.queue).view();
  } else if (database == databases_.segments || database == databases_.heads) {
    key = layout::key_of(core::SegmentKey{place.queue, lane, place.segment}).view();
  } else if (database == databases_.due) {
    key = layout::due_key(place, core::due_clocks[in_.below(2)], static_cast<std::int64_t>(in_.number())).view();
  } else if (database == databases_.records || database == databases_.dead) {
    key = layout::key_of(place).view();
  } else {
    key = id_of(in_.below(5));
    if (database == databases_.sessions) key += std::string(4, '\0');
  }
  if (key.empty() || key.size() > 500) return;
  const bool sealed = in_.below(4) != 0;
  switch (in_.below(4)) {
    case 0:
      lmdb::remove(txn_, database, key);
      return;
    case 1: {  // a byte or more of what stands there
      const auto stored = read(database, key, !sealed);
      if (!stored || stored->empty()) return;
      std::string value(*stored);
      const std::size_t at = in_.byte() % value.size();
      const std::string_view over = in_.take(1 + in_.below(8));
      value.replace(at, over.size(), over);
      return put(database, key, value, sealed);
    }
    case 2: {  // cut off
      const auto stored = read(database, key, !sealed);
      if (!stored) return;
      return put(database, key, stored->substr(0, in_.byte()), sealed);
    }
    default:
      put(database, key, std::string(in_.block()), sealed);
  }
}

void Play::carry_out(core::Core& core) {
  const auto snapshot = store_.snapshot();
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    const core::Action action = std::move(actions_[i]);
    const auto* delivery = std::get_if<core::SendDelivery>(&action);
    if (delivery == nullptr) continue;
    for (const auto& piece : delivery->pieces) leases_.emplace_back(piece.lease, piece.count);
    std::vector<core::Piece> damaged;
    const async::ZmqFrame frame = delivering_.frame(*delivery, *snapshot, damaged);
    if (!damaged.empty()) core.undelivered(now_, delivery->to, damaged, actions_);
    v1::Frame head;
    const auto run = protocol::decode(frame.bytes(), head);
    require(!run.has_error(), "a delivery of damaged messages does not parse");
    std::uint64_t bytes = 0;
    for (const auto& one : head.deliver().deliveries()) {
      for (const auto length : one.index().lengths()) bytes += length;
    }
    require(bytes == run->size(), "a delivery's lengths do not fit its run");
  }
  actions_.clear();
}

void Play::commit(core::Core& core, broker::Control& control) {
  for (int i = 0; i < 8 && core.wants_commit(); ++i) {
    control.sealed();
    const core::Batch batch = core.seal(now_);
    store_.commit(batch);
    core.damaged(store_.damaged);
    core.committed(now_, actions_);
    control.committed(now_, actions_);
    carry_out(core);
  }
}

void Play::play(core::Core& core) {
  broker::Control control(core, store_);
  const auto pass = [&](Duration time) {
    now_.instant += time;
    now_.wall += time;
    core.tick(now_, actions_);
    carry_out(core);
    commit(core, control);
  };
  commit(core, control);
  pass(1s);
  for (Duration all{}; all < 15s; all += 2s) pass(2s);  // the noted session does not come back
  v1::Frame frame;
  auto& hello = *frame.mutable_hello();
  hello.set_magic(protocol::magic);
  hello.set_version_lowest(2);
  hello.set_version_highest(2);
  hello.set_kind(v1::WORKER);
  hello.set_process_token(id_of(8));
  hello.add_attach()->set_queue("orders");
  if (in_.below(2) == 0) hello.mutable_attach(0)->add_types("a.A");
  hello.mutable_window()->set_epoch(1);
  hello.mutable_window()->set_messages(100);
  hello.mutable_window()->set_bytes(1 << 20);
  say(core, std::move(frame));
  commit(core, control);
  carry_out(core);
  pass(1s);
  for (const auto& [lease, count] : std::vector(leases_)) {
    v1::Frame settle;
    auto& run = *settle.mutable_settle()->add_runs();
    run.set_lease(lease);
    run.set_count(count);
    run.set_outcome(static_cast<v1::Outcome>(1 + in_.below(6)));
    say(core, std::move(settle));
    commit(core, control);
  }
  for (const bool all : {false, true}) {
    v1::ControlRequest request;
    request.mutable_list_dead()->set_queue("orders");
    control.ask(now_, 1, broker::Peer{}, request, actions_);
    request.mutable_show_dead()->set_queue("orders");
    request.mutable_show_dead()->set_id("orders/1.1");
    request.mutable_show_dead()->set_with_payload(true);
    control.ask(now_, 1, broker::Peer{}, request, actions_);
    request.mutable_replay_dead()->set_queue("orders");
    request.mutable_replay_dead()->set_all(all);
    if (!all) request.mutable_replay_dead()->add_ids("orders/1.1");
    control.ask(now_, 1, broker::Peer{}, request, actions_);
    carry_out(core);
    commit(core, control);
  }
  pass(1h);
  v1::Queues queues;
  core.list_queues(queues);
}

void Play::run() {
  fill();
  for (std::uint32_t damages = 1 + in_.below(4); damages > 0; --damages) damage();
  core::Config config;
  config.queues = {{"orders", {}}};
  try {
    core::Core core(config, store_.recover(), store_, now_);
    play(core);
  } catch (const Broken&) {
    throw;
  } catch (const Error&) {  // refused, or the broker ended: in words
  }
}

}  // namespace

void stored(std::string_view bytes) {
  static Environment environment;
  Input in(bytes);
  lmdb::Transaction txn(environment.get(), 0);
  Play(in, txn.get(), environment.databases).run();
}

}  // namespace weir::fuzz
