// The ledger: what a commit brings to disk. Each change must follow from what somebody did.
#include <algorithm>

#include "ledger.hpp"
#include "outcomes.hpp"
#include "weir/protocol/names.hpp"

namespace weir::simulation {

void Ledger::durable(const core::Batch& batch, core::Snapshot& disk) {
  batch_stored_.clear();
  batch_moved_.clear();
  batch_acks_.clear();
  batch_published_.clear();
  batch_charged_.clear();
  for (auto& [queue, dead] : dead_) dead.least = dead.now;
  for (auto& [queue, live] : live_) live.brought_by_no_publish = {};
  // What it stores first: whose ack a message went with shows in the outputs.
  for (const bool stores : {true, false}) {
    for (const core::Write& write : batch.writes) {
      const bool is_store =
          std::holds_alternative<core::PutSegment>(write) || std::holds_alternative<core::PutRecord>(write);
      if (is_store == stores) std::visit([this](const auto& one) { on(one); }, write);
    }
  }
  for (const Uid uid : batch_charged_) check_killer(uid);
  check_outputs();
  check_room();
  check_histories(disk);
}

void Ledger::check_histories(core::Snapshot& disk) {
  v1::Record record;
  for (const Uid uid : batch_moved_) {
    Message& m = message(uid);
    if (m.where != Where::record && m.where != Where::dead) continue;
    const auto bytes = m.where == Where::record ? disk.record(m.place) : disk.dead(m.place);
    if (!bytes || !record.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) {
      throw Broken("the_store_is_whole", print(uid) + " was moved, and cannot be read");
    }
    check_name(uid, protocol::read_name(record.name()).value_or(MessageName{}));
    bool right = static_cast<std::size_t>(record.history_size()) == m.history.size();
    for (int i = 0; right && i < record.history_size(); ++i) {
      const v1::Attempt& entry = record.history(i);
      Failure& expected = m.history[static_cast<std::size_t>(i)];
      if (expected.error.empty()) expected.error = entry.error();
      right = entry.number() == expected.number && entry.error() == expected.error && !entry.error().empty();
    }
    if (right) continue;
    std::string numbers;
    for (const Failure& one : m.history) numbers += ' ' + std::to_string(one.number);
    record.clear_body();
    throw Broken("a_history_tells_every_failure",
                 print(uid) + " has failed as attempts" + numbers +
                     " (0: nobody knew its type, or it was replayed); it says: " + record.ShortDebugString());
  }
}

void Ledger::check_room() {
  for (const QueueId id : batch_published_) {
    const auto& [name, policy] = scenario_.queues[id - 1];
    const DeadPolicy& dead = policy.dead;
    if (dead.most && dead.on_full == OnDeadFull::refuse && dead_[id].least >= dead.most->value) {
      throw Broken("a_full_queue_takes_nothing", name + " has taken a publish; it had " +
                                                     std::to_string(dead_[id].least) +
                                                     " dead letters, and refuses publishes while it has as many");
    }
    const QueueLimit& most = policy.most;
    const Live& live = live_[id];
    if (most.on_full == OnFull::refuse) {
      // When the last was taken all fitted; only what needs no room came later.
      const Load& more = live.brought_by_no_publish;
      const bool fits = (!most.messages || live.all.messages <= *most.messages + more.messages) &&
                        (!most.bytes || live.all.bytes <= *most.bytes + more.bytes);
      if (!fits) {
        throw Broken("a_full_queue_takes_nothing", name + " has taken a publish, and holds " +
                                                       std::to_string(live.all.messages.value) + " messages of " +
                                                       std::to_string(live.all.bytes.value) + " bytes");
      }
    } else if (most.messages && live.credited > *most.messages) {
      // A message that is larger than its publisher's window goes alone, so that bytes have no bound of this kind.
      throw Broken("windows_never_sum_above_the_room",
                   name + " holds " + std::to_string(live.credited.value) + " messages that were sent within credit");
    }
  }
}

void Ledger::entered(const Message& m) {
  Live& live = live_[m.queue];
  live.all += {Messages{1}, Bytes{m.bytes}};
  if (!m.uncredited) live.credited += Messages{1};
}

void Ledger::left(Message& m) {
  m.left_at_us = clock_.now_us;
  Live& live = live_[m.queue];
  live.all -= {Messages{1}, Bytes{m.bytes}};
  if (!m.uncredited) live.credited -= Messages{1};
}

void Ledger::store(Uid uid, const Place& place, Where where, Lane lane, std::string_view type, std::string_view key) {
  if (uid == 0 || uid > messages_.size()) throw Broken("bytes_are_whole", "a body is stored that nobody published");
  Message& m = message(uid);
  hit(m, MessageEvent::stored);
  begin_again(m);
  if (m.where != Where::nowhere) {
    throw Broken("stored_once", print(uid) + " is stored again, as " +
                                    print_id(scenario_.queues[place.queue - 1].name, place.segment, place.index));
  }
  if (!m.offered) throw Broken("stored_once", print(uid) + " is stored, and was never published");
  if (m.told == Told::refused) throw Broken("refused_means_not_stored", print(uid) + " was refused, and is stored");
  if (place.queue != m.queue || lane != m.lane || type != scenario_.types[m.type] || key != key_of(uid)) {
    throw Broken("bytes_are_whole", print(uid) + " is stored in another lane, as another type or with another key");
  }
  if (m.deliver_at_us != 0) {
    if (where == Where::segment) check_its_time_had_come(uid);
  } else if ((where == Where::record) != (m.delay_us > 0)) {
    throw Broken("nothing_comes_early", print(uid) + " was published with a delay of " + std::to_string(m.delay_us) +
                                            " us; it is " + (where == Where::record ? "" : "not ") + "a record");
  }
  const auto [at, is_new] = places_.emplace(place, uid);
  if (m.ahead) {
    if (m.place != place) throw Broken("a_place_never_changes", print(uid) + " was delivered from another place");
    m.ahead = false;
    --totals_[m.queue].unwritten;
  } else if (!is_new) {
    throw Broken("no_place_is_given_twice", print(uid) + " is stored at the place of " + print(at->second));
  }
  m.place = place;
  m.where = where;
  m.lost = false;
  m.stored_in = incarnation_;
  ++unfinished_;
  ++totals_[m.queue].published;
  entered(m);
  if (m.source != 0) {
    live_[m.queue].brought_by_no_publish += {Messages{1}, Bytes{m.bytes}};
    batch_stored_.push_back(uid);
  } else {
    batch_published_.insert(m.queue);
  }
}

void Ledger::on(const core::PutSegment& write) {
  std::vector<Uid>& segment = segments_[write.key];
  if (!segment.empty()) throw Broken("no_place_is_given_twice", "a segment is stored over another");
  std::size_t piece = 0;
  std::size_t offset = 0;
  const std::string& settled = write.settled;
  const v1::Index& index = write.contents->index;
  const auto& run = write.contents->run;
  for (int i = 0; i < index.lengths_size(); ++i) {
    while (offset == run[piece].bytes.size()) {
      ++piece;
      offset = 0;
    }
    const std::size_t length = index.lengths(i);
    const auto uid = uid_of(run[piece].bytes.substr(offset, length));
    offset += length;
    segment.push_back(uid.value_or(0));
    const auto bit = static_cast<std::size_t>(i);
    if (bit / 8 < settled.size() && ((settled[bit / 8] >> (bit % 8)) & 1) != 0) continue;  // a record from the start
    const int type = index.type_of_size() > 0 ? static_cast<int>(index.type_of(i)) : 0;
    store(uid.value_or(0), {write.key.queue, write.key.segment, static_cast<std::uint32_t>(i)}, Where::segment,
          write.key.lane, index.types(type), index.key_size() > 0 ? index.key(i) : std::string());
  }
}

void Ledger::on(const core::PutRecord& write) {
  const Uid uid = uid_of(write.body.bytes).value_or(0);
  store(uid, write.place, Where::record, static_cast<Lane>(write.record.priority()), write.record.type(),
        write.record.key());
  Message& m = message(uid);
  m.due_us = write.record.due_us();
  m.by_wall = write.record.by_wall();
  if (m.by_wall ? m.due_us != m.deliver_at_us : m.deliver_at_us != 0) {
    throw Broken("a_wall_time_is_by_the_wall_clock",
                 print(uid) + " names a wall time of " + std::to_string(m.deliver_at_us) + ", and is due at " +
                     std::to_string(m.due_us) + (m.by_wall ? " by that clock" : " by the broker's clock"));
  }
  // By the broker's clock it was taken after it was published, and after this start.
  if (!m.by_wall && m.due_us < told_us(m.offered_at_us) + m.delay_us) {
    throw Broken("nothing_comes_early", print(uid) + " is due before its delay of " + std::to_string(m.delay_us));
  }
  if (m.by_wall) last_wall_due_us_ = std::max(last_wall_due_us_, m.due_us);
}

void Ledger::check_its_time_had_come(Uid uid) const {
  const Message& m = message(uid);
  const std::int64_t latest_wall_us = clock_.latest_wall_us(std::max(m.offered_at_us, started_at_us_));
  if (m.deliver_at_us <= latest_wall_us) return;
  throw Broken("nothing_comes_early", print(uid) + " names a time that is " +
                                          std::to_string(m.deliver_at_us - latest_wall_us) +
                                          " us away, and waits for none");
}

void Ledger::acked(Uid uid) {
  Message& m = message(uid);
  // An older lease's holder may have acked it too; whose ack this is shows in the outputs that came with it.
  HoldingId by = 0;
  for (const HoldingId id : m.holdings) {
    const Holding& held = holding(id);
    if (!kind_of(held.outcome).ends || !may_apply(m, held)) continue;
    const bool came = std::any_of(batch_stored_.begin(), batch_stored_.end(),
                                  [&](Uid output) { return message(output).source == id; });
    // None came: then it is rather one that brought none than one that the broker may not have heard of yet.
    if (by == 0 || came || held.outputs.empty() || !holding(by).outputs.empty()) by = id;
    if (came) break;
  }
  if (by == 0) throw Broken("only_its_holder_settles", print(uid) + " is gone, and nobody who may has acked it");
  holding(by).applied = true;
  batch_acks_.push_back(by);
  m.applied_grant = holding(by).grant;
  m.where = Where::gone;
  left(m);
  --unfinished_;
  ++totals_[m.queue].acked;
}

void Ledger::on(const core::PutSettled& write) {
  const auto segment = segments_.find(write.key);
  if (segment == segments_.end()) throw Broken("the_store_is_whole", "settled bits of a segment that is not there");
  for (std::size_t i = 0; i < segment->second.size(); ++i) {
    const Uid uid = segment->second[i];
    const bool settled = i / 8 < write.settled.size() && ((write.settled[i / 8] >> (i % 8)) & 1) != 0;
    const bool live = message(uid).where == Where::segment;
    if (settled && live) acked(uid);
    if (!settled && !live) {
      throw Broken("what_has_ended_never_comes_again", print(uid) + " is open again in its segment");
    }
  }
}

void Ledger::on(const core::DropSegment& write) {
  const auto segment = segments_.find(write.key);
  if (segment == segments_.end()) throw Broken("the_store_is_whole", "a segment is dropped that is not there");
  for (const Uid uid : segment->second) {
    if (message(uid).where == Where::segment) acked(uid);
  }
  segment->second = {0};  // never to be written again
}

void Ledger::on(const core::DropRecord& write) {
  const Uid uid = uid_at(write.place);
  if (uid == 0 || message(uid).where != Where::record) {
    throw Broken("the_store_is_whole", "a record is dropped that is not there");
  }
  acked(uid);
}

void Ledger::on(const core::MoveMessage& write) {
  const Uid uid = uid_at(write.place);
  if (uid == 0) throw Broken("the_store_is_whole", "a message is moved that is not there");
  Message& m = message(uid);
  batch_moved_.push_back(uid);
  if (m.where != (write.source == core::Source::segment ? Where::segment : Where::record)) {
    throw Broken("what_has_ended_never_comes_again", print(uid) + " is moved");
  }
  if (write.source == core::Source::segment && !write.dead && write.lease == LeaseId{}) {
    // Compaction: nothing happens to it. Only what was delivered is moved, or it would overtake what came before.
    if (write.attempts != m.attempts || write.attempt || write.suspicion != m.suspicion || m.grants.empty()) {
      throw Broken("compaction_changes_nothing", print(uid) + " is no more what it was");
    }
    hit(m, MessageEvent::compacted);
    m.where = Where::record;
    return;
  }
  HoldingId by = 0;
  std::int64_t early_us = 0;
  for (const HoldingId id : m.holdings) {
    const Holding& held = holding(id);
    const OutcomeKind& kind = kind_of(held.outcome);
    if (!may_apply(m, held) || kind.ends || kind.returns) continue;
    const std::uint32_t attempts = m.attempts + (kind.counts ? 1U : 0U);
    const bool dead = kind.buries || (kind.counts && attempts >= policy(m).attempts);
    if (write.attempts != attempts || write.dead != dead) continue;
    std::int64_t pause = 0;
    if (!dead) pause = held.asked ? held.asked->count() : kind.counts ? backoff_us(m, attempts) : 0;
    early_us = told_us(held.settled_at_us) + pause - write.at_us;
    if (early_us > 0) continue;  // then it was something else, or is not kept
    // Of several the one it was delivered to last: the others were answered `stale`.
    if (by == 0 || held.grant > holding(by).grant) by = id;
  }
  if (by != 0) {
    Holding& held = holding(by);
    held.applied = true;
    m.applied_grant = held.grant;
    if (kind_of(held.outcome).pauses) {
      auto& until = paused_until_us_[m.queue];
      until = std::max(until, write.at_us - broker_us(0));
    }
  } else {
    check_moved_by_a_death(uid, write, early_us);
  }
  const bool pays = m.blamed && write.attempts == m.attempts + 1 && write.suspicion == v1::WAS_ON_CPU;
  if (write.suspicion != v1::UNSUSPECTED && write.suspicion != m.suspicion && !pays) check_suspected(uid);
  m.suspicion = write.suspicion;
  if (write.suspicion == v1::UNSUSPECTED) m.killed = 0;  // another one was charged for a death, and it was there
  const bool counted = write.attempts != m.attempts;
  if (counted || (by == 0 && write.dead)) m.history.push_back({counted ? write.attempts : 0, {}});
  m.attempts = write.attempts;
  m.due_us = write.at_us;
  m.by_wall = false;
  if (write.dead) {
    if (write.at_us > broker_us(clock_.now_us)) {
      throw Broken("dead_letters_are_kept", print(uid) + " is said to be dead from a time on that is yet to come");
    }
    m.dead_since_us = write.at_us;
    ++dead_[m.queue].now;
    left(m);
    --unfinished_;
  }
  m.where = write.dead ? Where::dead : Where::record;
}

std::int64_t Ledger::backoff_us(const Message& m, std::uint32_t attempts) const {
  const Backoff& backoff = policy(m).backoff;
  const auto most = static_cast<double>(backoff.most.count());
  double pause = std::min(most, static_cast<double>(backoff.first.count()));
  for (; attempts > 1; --attempts) pause = std::min(most, pause * backoff.factor);
  return static_cast<std::int64_t>(pause);  // jitter only adds
}

void Ledger::throw_early(Uid uid, std::int64_t early_us) const {
  throw Broken("nothing_comes_early", print(uid) + " is due again " + std::to_string(early_us) +
                                          " us before the delay that was asked for, or the backoff, is over");
}

/// No outcome says so: its holder died or was lost, or nobody attached knows its type. Or one does, and it is
/// `early_us` too early for that.
void Ledger::check_moved_by_a_death(Uid uid, const core::MoveMessage& write, std::int64_t early_us) {
  Message& m = message(uid);
  if (write.dead && write.attempts == m.attempts) return check_buried(uid);
  const bool cleared = m.suspicion != v1::UNSUSPECTED && write.suspicion == v1::UNSUSPECTED &&
                       write.attempts == m.attempts && !write.dead;
  if (cleared) return;
  const bool lost = std::any_of(m.grants.begin(), m.grants.end(),
                                [&](const Grant& grant) { return may_have_lost(grant.worker, grant.at_us); });
  if (!lost) {
    if (early_us > 0) throw_early(uid, early_us);
    throw Broken("only_its_holder_settles",
                 print(uid) + " becomes " + (write.dead ? "a dead letter" : "a record") + " with " +
                     std::to_string(write.attempts) + " attempts after " + std::to_string(m.attempts) +
                     ", no outcome that was told says so, and no holder of it died or was lost");
  }
  const bool charged = write.attempts == m.attempts + 1;
  if (write.attempts == m.attempts ? write.dead : !charged || write.dead != (write.attempts >= policy(m).attempts)) {
    throw Broken("attempts_count_as_the_rules_say", print(uid) + " comes out of a death with " +
                                                        std::to_string(write.attempts) + " attempts after " +
                                                        std::to_string(m.attempts));
  }
  if (charged && !write.dead) {
    const auto first = std::min_element(m.grants.begin(), m.grants.end(),
                                        [](const Grant& a, const Grant& b) { return a.at_us < b.at_us; });
    const std::int64_t least_us = told_us(first->at_us) + backoff_us(m, write.attempts);
    if (write.at_us < least_us) throw_early(uid, least_us - write.at_us);
  }
  if (charged && !m.blamed) check_charged(uid);
}

/// No report names it.
void Ledger::check_charged(Uid uid) {
  const Message& m = message(uid);
  if (m.suspicion == v1::UNSUSPECTED) {
    throw Broken("the_innocent_do_not_pay",
                 print(uid) + " is charged for a death; nobody named it, nor was it suspect");
  }
  batch_charged_.push_back(uid);
}

/// Whoever killed the process in which it was tried was known to be in it, unless that was settled: by this batch at
/// the latest.
void Ledger::check_killer(Uid uid) const {
  const Message& m = message(uid);
  const Uid killer = processes_[workers_[m.grants.back().worker].process].died_of;
  if (killer == 0 || killer == uid) return;
  const Message& other = message(killer);
  const bool heard = std::any_of(other.holdings.begin(), other.holdings.end(), [&](HoldingId id) {
    return workers_[holding(id).worker].process == workers_[m.grants.back().worker].process && holding(id).applied;
  });
  if (heard || other.where == Where::gone) return;
  throw Broken("the_innocent_do_not_pay", print(uid) + " is charged for a process that " + print(killer) + " ended");
}

void Ledger::on(const core::ReplayDead& write) {
  const Uid uid = uid_at(write.place);
  if (uid == 0 || message(uid).where != Where::dead) return;  // the store leaves it
  if (replays_.erase(write.place) == 0) throw Broken("only_operators_replay", print(uid) + " is replayed unasked");
  Message& m = message(uid);
  batch_moved_.push_back(uid);
  m.where = Where::record;
  m.attempts = 0;
  m.history.push_back({0, "replayed"});
  m.killed = 0;
  m.due_us = write.due_us;
  m.by_wall = false;
  ++unfinished_;
  m.uncredited = true;
  entered(m);
  live_[m.queue].brought_by_no_publish += {Messages{1}, Bytes{m.bytes}};
  one_dead_less(m.queue);
}

void Ledger::on(const core::DropDead& write) {
  const Uid uid = uid_at(write.place);
  if (uid == 0 || message(uid).where != Where::dead) return;
  Message& m = message(uid);
  const DeadPolicy& dead = policy(m).dead;
  const bool too_many = dead.most && dead.on_full == OnDeadFull::oldest && dead_[m.queue].now > dead.most->value;
  const bool too_old = dead.keep && broker_us(clock_.now_us) >= m.dead_since_us + dead.keep->count();
  const bool asked = purges_.erase(write.place) > 0;
  if (!asked && !too_old && too_many) {
    const auto older =
        std::find_if(places_.lower_bound({write.place.queue, 0, 0}), places_.find(write.place), [&](const auto& at) {
          const Message& other = message(at.second);
          // What was published again stands elsewhere than it did.
          return other.where == Where::dead && other.place == at.first && other.left_at_us < m.left_at_us;
        });
    if (older != places_.find(write.place)) {
      throw Broken("dead_letters_are_kept", print(uid) + " is dropped as one too many, before " + print(older->second));
    }
  }
  if (!asked && !too_many && !too_old) {
    throw Broken("dead_letters_are_kept",
                 print(uid) + " is dropped unasked, with " + std::to_string(dead_[m.queue].now) + " in its queue");
  }
  m.where = Where::purged;
  one_dead_less(m.queue);
}

void Ledger::one_dead_less(QueueId queue) {
  Dead& dead = dead_[queue];
  dead.least = std::min(dead.least, --dead.now);
}

void Ledger::on(const core::NoteSession& write) { noted_.emplace(Session{write.token, write.shard}, clock_.now_us); }
void Ledger::on(const core::ForgetSession& write) {
  noted_.erase({write.token, write.shard});
  for (WorkerState& worker : workers_) {
    if (worker.token == write.token && worker.shard == write.shard) detached(worker);
  }
}
void Ledger::on(const core::PutQueue&) {}

void Ledger::check_outputs() {
  // A message that was acked before it was written leaves no trace but what it left with.
  for (const Uid uid : batch_stored_) {
    const HoldingId source = message(uid).source;
    if (elide(holding(source).uid) && holding(source).applied) batch_acks_.push_back(source);
  }
  for (const HoldingId id : batch_acks_) {
    for (const Uid uid : holding(id).outputs) {
      if (!elide(uid)) {
        throw Broken("an_ack_and_its_outputs_are_one",
                     print(uid) + " is not on disk, and the ack is that it left with");
      }
    }
  }
  for (const Uid uid : batch_stored_) {
    if (std::find(batch_acks_.begin(), batch_acks_.end(), message(uid).source) == batch_acks_.end()) {
      throw Broken("an_ack_and_its_outputs_are_one",
                   print(uid) + " is stored without the ack of " + print(holding(message(uid).source).uid));
    }
  }
}

std::vector<Place> Ledger::dead_letters(std::size_t queue) const {
  std::vector<Place> places;
  for (const auto& [place, uid] : places_) {
    if (place.queue == queue + 1 && message(uid).where == Where::dead) places.push_back(place);
  }
  return places;
}

}  // namespace weir::simulation
