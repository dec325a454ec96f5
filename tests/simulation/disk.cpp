// The ledger: what a commit brings to disk. Each change must follow from what somebody did.
#include <algorithm>

#include "ledger.hpp"
#include "outcomes.hpp"

namespace weir::simulation {

void Ledger::durable(const core::Batch& batch) {
  batch_stored_.clear();
  batch_acks_.clear();
  // What it stores first: whose ack a message went with shows in the outputs.
  for (const bool stores : {true, false}) {
    for (const core::Write& write : batch.writes) {
      const bool is_store =
          std::holds_alternative<core::PutSegment>(write) || std::holds_alternative<core::PutRecord>(write);
      if (is_store == stores) std::visit([this](const auto& one) { on(one); }, write);
    }
  }
  check_outputs();
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
  if ((where == Where::record) != (m.delay_us > 0)) {
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
  ++unfinished_;
  ++totals_[m.queue].published;
  if (m.source != 0) batch_stored_.push_back(uid);
}

void Ledger::on(const core::PutSegment& write) {
  std::vector<Uid>& segment = segments_[write.key];
  if (!segment.empty()) throw Broken("no_place_is_given_twice", "a segment is stored over another");
  std::size_t piece = 0;
  std::size_t offset = 0;
  const auto& settled = write.head.settled();
  for (int i = 0; i < write.index->lengths_size(); ++i) {
    while (offset == write.run[piece].bytes.size()) {
      ++piece;
      offset = 0;
    }
    const std::size_t length = write.index->lengths(i);
    const auto uid = uid_of(write.run[piece].bytes.substr(offset, length));
    offset += length;
    segment.push_back(uid.value_or(0));
    const auto bit = static_cast<std::size_t>(i);
    if (bit / 8 < settled.size() && ((settled[bit / 8] >> (bit % 8)) & 1) != 0) continue;  // a record from the start
    const int type = write.index->type_of_size() > 0 ? static_cast<int>(write.index->type_of(i)) : 0;
    store(uid.value_or(0), {write.key.queue, write.key.segment, static_cast<std::uint32_t>(i)}, Where::segment,
          write.key.lane, write.index->types(type), write.index->key_size() > 0 ? write.index->key(i) : std::string());
  }
}

void Ledger::on(const core::PutRecord& write) {
  const Uid uid = uid_of(write.body.bytes).value_or(0);
  store(uid, write.place, Where::record, static_cast<Lane>(write.record.priority()), write.record.type(),
        write.record.key());
  Message& m = message(uid);
  m.due_us = write.record.due_us();
  // By the broker's clock it was taken after it was published, and after this start.
  if (m.due_us < broker_us(std::max(m.offered_at_us, started_at_us_)) + m.delay_us) {
    throw Broken("nothing_comes_early", print(uid) + " is due before its delay of " + std::to_string(m.delay_us));
  }
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
  for (const HoldingId id : m.holdings) {
    const Holding& held = holding(id);
    const OutcomeKind& kind = kind_of(held.outcome);
    if (!may_apply(m, held) || kind.ends || kind.returns) continue;
    const std::uint32_t attempts = m.attempts + (kind.counts ? 1U : 0U);
    const bool dead = kind.buries || (kind.counts && attempts >= policy(m).attempts);
    if (write.attempts != attempts || write.dead != dead) continue;
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
    check_moved_by_a_death(uid, write);
  }
  m.suspicion = write.suspicion;
  m.attempts = write.attempts;
  m.due_us = write.at_us;
  if (write.dead) --unfinished_;
  m.where = write.dead ? Where::dead : Where::record;
}

/// No outcome says so: its holder died or was lost, or nobody attached knows its type.
void Ledger::check_moved_by_a_death(Uid uid, const core::MoveMessage& write) {
  Message& m = message(uid);
  const bool unheard_of = scenario_.types.size() > 1 && write.dead && write.attempts == m.attempts;
  const bool cleared = m.suspicion != v1::UNSUSPECTED && write.suspicion == v1::UNSUSPECTED &&
                       write.attempts == m.attempts && !write.dead;
  if (unheard_of || cleared) return;
  const bool lost = std::any_of(m.grants.begin(), m.grants.end(),
                                [&](const Grant& grant) { return may_have_lost(grant.worker, grant.at_us); });
  if (!lost) {
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
  if (charged && !m.blamed && m.suspicion == v1::UNSUSPECTED) {
    throw Broken("the_innocent_do_not_pay",
                 print(uid) + " is charged for a death; nobody named it, nor was it suspect");
  }
}

void Ledger::on(const core::ReplayDead& write) {
  const Uid uid = uid_at(write.place);
  if (uid == 0 || message(uid).where != Where::dead) return;  // the store leaves it
  if (replays_.erase(write.place) == 0) throw Broken("only_operators_replay", print(uid) + " is replayed unasked");
  Message& m = message(uid);
  m.where = Where::record;
  m.attempts = 0;
  m.due_us = write.due_us;
  ++unfinished_;
}

void Ledger::on(const core::DropDead& write) {
  const Uid uid = uid_at(write.place);
  if (uid == 0 || message(uid).where != Where::dead) return;
  const DeadPolicy& dead = policy(message(uid)).dead;
  const bool trimmed = dead.keep || (dead.most && dead.on_full == OnDeadFull::oldest);
  if (purges_.erase(write.place) == 0 && !trimmed) {
    throw Broken("dead_letters_are_kept", print(uid) + " is dropped unasked");
  }
  message(uid).where = Where::purged;
}

void Ledger::on(const core::NoteSession& write) { noted_.emplace(Session{write.token, write.shard}, clock_.now_us); }
void Ledger::on(const core::ForgetSession& write) { noted_.erase({write.token, write.shard}); }
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
