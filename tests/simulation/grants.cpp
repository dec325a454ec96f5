// The ledger: what the broker hands out, and its starts.
#include <algorithm>

#include "ledger.hpp"
#include "outcomes.hpp"

namespace weir::simulation {

void Ledger::broker_started(const core::Recovered& recovered, const v1::Queues& queues) {
  if (recovered.incarnation <= stored_incarnation_) {
    throw Broken("no_lease_id_twice", "incarnation " + std::to_string(recovered.incarnation) + " after " +
                                          std::to_string(stored_incarnation_));
  }
  forget_what_ran_ahead();
  ++incarnation_;
  stored_incarnation_ = recovered.incarnation;
  noted_at_start_ = noted_;
  std::map<Session, std::int64_t> found;
  for (const auto& session : recovered.sessions) found[{session.token, session.shard}] = 0;
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  if (!std::equal(found.begin(), found.end(), noted_.begin(), noted_.end(), same)) {
    throw Broken("a_start_finds_everything", std::to_string(noted_.size()) + " sessions are noted on disk, " +
                                                 std::to_string(found.size()) + " are found");
  }
  started_at_us_ = clock_.now_us;
  started_wall_us_ = clock_.wall_us();
  paused_until_us_.clear();
  last_of_.clear();
  trials_.clear();  // who comes back may be late
  nobody_attached();
  broker_pauses();  // a lease that ran out before cannot come back; from here on all have time
  for (auto& process : processes_) process.heard_at_us = clock_.now_us;
  std::map<QueueId, std::pair<std::uint64_t, std::uint64_t>> expected;  // live, dead
  for (const Message& m : messages_) {
    if (m.where == Where::segment || m.where == Where::record) ++expected[m.queue].first;
    if (m.where == Where::dead) ++expected[m.queue].second;
  }
  for (const auto& queue : queues.queues()) {
    const auto [live, dead] = expected[queue.id()];
    if (queue.ready() + queue.delayed() + queue.leased() != live || queue.dead() != dead) {
      throw Broken("a_start_finds_everything",
                   std::to_string(live) + " messages and " + std::to_string(dead) +
                       " dead letters are on disk; after the start the queue says: " + queue.ShortDebugString());
    }
  }
}

void Ledger::broker_pauses() {
  for (auto& process : processes_) {
    if (clock_.now_us - process.heard_at_us > scenario_.session_timeout.count()) process.expired_at_us = clock_.now_us;
  }
}

void Ledger::broker_resumed() {
  for (auto& process : processes_) process.heard_at_us = std::max(process.heard_at_us, clock_.now_us);
}

void Ledger::claims_granted(WorkerId worker) {
  const WorkerState& state = workers_[worker];
  if (noted_at_start_.contains({state.token, state.shard})) return;
  throw Broken("claims_are_for_noted_sessions",
               "process " + std::to_string(state.process) + " shard " + std::to_string(state.shard) +
                   " is granted leases of an earlier incarnation, and the store had not noted it");
}

void Ledger::claimed(WorkerId worker, const v1::Hello& hello) {
  const auto is_named = [](const auto& claims, const Place& place) {
    return std::any_of(claims.begin(), claims.end(), [&](const auto& claim) {
      return claim.queue() == place.queue && claim.segment() == place.segment && claim.first() <= place.index &&
             place.index - claim.first() < claim.count();
    });
  };
  for (Holding& one : holdings_) {
    if (one.worker == worker && one.open) one.given_up |= !is_named(hello.held(), message(one.uid).place);
  }
  std::erase_if(trials_, [&](const Trial& trial) {
    return trial.worker == worker && !is_named(hello.held(), message(trial.uid).place);
  });
}

void Ledger::granted(WorkerId worker, const core::Piece& piece) {
  const std::int64_t broker_now_us = broker_us(clock_.now_us);
  const WorkerState& who = workers_[worker];
  const auto paused = paused_until_us_.find(piece.key.queue);
  for (std::uint32_t i = 0; i < piece.count; ++i) {
    const Place place{piece.key.queue, piece.key.segment, piece.first + i};
    const Uid uid = piece.ahead ? placed_ahead(piece, i) : uid_at(place);
    if (uid == 0) {
      throw Broken("delivered_after_its_commit",
                   print_id("queue " + std::to_string(place.queue), place.segment, place.index) +
                       " is delivered, and nothing of that place is on disk");
    }
    Message& m = message(uid);
    hit(m, MessageEvent::granted);
    if (!(piece.ahead && m.where == Where::nowhere) &&
        m.where != (piece.source == core::Source::segment ? Where::segment : Where::record)) {
      throw Broken("what_has_ended_never_comes_again", print(uid, worker) + ": delivered");
    }
    if (!noted_.contains({who.token, who.shard})) {
      throw Broken("noted_before_its_first_delivery", print(uid, worker) + ": the store has not noted the session");
    }
    if (piece.attempt != m.attempts + 1) {
      throw Broken("attempts_count_as_the_rules_say", print(uid, worker) + ": sent as attempt " +
                                                          std::to_string(piece.attempt) + " after " +
                                                          std::to_string(m.attempts) + " that count");
    }
    // What was due by the wall clock once stays so for this broker, though that was put back since.
    const std::int64_t due_by_us = m.by_wall ? clock_.latest_wall_us(started_at_us_) : broker_now_us;
    if (m.where == Where::record && m.due_us > due_by_us) {
      throw Broken("nothing_comes_early", print(uid, worker) + ": " + std::to_string(m.due_us - due_by_us) +
                                              " us before it is due" + (m.by_wall ? " by the wall clock" : ""));
    }
    if (paused != paused_until_us_.end() && clock_.now_us < paused->second) {
      throw Broken("a_throttled_queue_pauses", print(uid, worker) + ": sent " +
                                                   std::to_string(paused->second - clock_.now_us) +
                                                   " us before the time that was asked for");
    }
    if (m.where != Where::record) check_order(uid, worker);
    if (!knows(who, place.queue, m.type)) {
      throw Broken("sent_only_what_it_named", print(uid, worker) + ": sent a type that it did not name");
    }
    m.due_us = 0;  // and stays so, whatever a later start's clock says
    check_nobody_else(uid, worker, "sent");
    check_ends_are_committed(m, worker);
    check_trial(uid, worker);
    std::erase_if(m.grants, [&](const Grant& one) { return one.worker == worker && !one.forgotten; });
    m.grants.push_back({++grants_, incarnation_, worker, clock_.now_us, piece.attempt, place});
    begin_trial(uid, worker);
  }
}

Uid Ledger::placed_ahead(const core::Piece& piece, std::uint32_t offset) {
  const std::uint32_t index = piece.first + offset;
  const Place place{piece.key.queue, piece.key.segment, index};
  std::string run;
  for (const Slice& slice : piece.ahead->run) run.append(slice.bytes);
  std::size_t from = 0;
  for (std::uint32_t i = 0; i < index; ++i) from += piece.ahead->index.lengths(static_cast<int>(i));
  const Uid uid =
      uid_of(std::string_view(run).substr(from, piece.ahead->index.lengths(static_cast<int>(index)))).value_or(0);
  if (uid == 0 || uid > messages_.size()) throw Broken("bytes_are_whole", "what is delivered ahead nobody published");
  Message& m = message(uid);
  if (!policy(m).ahead) throw Broken("ahead_only_where_allowed", print(uid) + " is delivered ahead of its commit");
  if (m.told == Told::refused) throw Broken("refused_means_not_stored", print(uid) + " was refused, and is delivered");
  begin_again(m);
  if (m.where != Where::nowhere || (m.ahead && m.place == place)) return uid;
  if (m.ahead) throw Broken("stored_once", print(uid) + " is delivered ahead at two places");
  if (!places_.emplace(place, uid).second) {
    throw Broken("no_place_is_given_twice", print(uid) + " is delivered ahead at the place of " + print(uid_at(place)));
  }
  if (m.deliver_at_us != 0) check_its_time_had_come(uid);
  m.place = place;
  m.ahead = true;
  ++totals_[m.queue].unwritten;
  return uid;
}

void Ledger::forget_what_ran_ahead() {
  for (Uid uid = 1; uid <= messages_.size(); ++uid) {
    Message& m = message(uid);
    // Acked: a mark on disk may say so, and then it is confirmed when it is sent again.
    if (m.ahead) elide(uid);
    const bool untold = m.elided_in != 0 && m.told != Told::confirmed;
    if (!m.ahead && !untold) continue;
    m.ahead = false;
    for (Grant& grant : m.grants) grant.forgotten = true;
    for (const HoldingId id : m.holdings) holding(id).forgotten = true;
  }
}

void Ledger::begin_again(Message& m) {
  if (m.elided_in == 0 || m.elided_in == incarnation_ || m.told == Told::confirmed) return;
  m.where = Where::nowhere;
  m.elided_in = 0;
}

bool Ledger::elide(Uid uid) {
  Message& m = message(uid);
  if (m.where != Where::nowhere) return true;
  if (!m.ahead) return false;
  for (const HoldingId id : m.holdings) {
    Holding& held = holding(id);
    if (!kind_of(held.outcome).ends || !may_apply(m, held)) continue;
    const bool whole = std::all_of(held.outputs.begin(), held.outputs.end(), [&](Uid output) { return elide(output); });
    if (!whole) continue;
    held.applied = true;
    m.applied_grant = held.grant;
    m.where = Where::gone;
    m.ahead = false;
    m.elided_in = incarnation_;
    m.left_at_us = clock_.now_us;
    return true;
  }
  return false;
}

void Ledger::says_confirmed(const v1::Confirmed& confirmed) {
  for (const auto& run : confirmed.runs()) {
    if (run.answer() != v1::Confirmed::CONFIRMED || run.segment() == 0) continue;
    for (std::uint32_t i = 0; i < run.count(); ++i) {
      const Uid uid = uid_at({run.queue(), run.segment(), run.index() + i});
      if (uid == 0 || !elide(uid)) {
        throw Broken("confirmed_means_on_disk",
                     (uid == 0 ? "a message" : print(uid)) +
                         " is confirmed; it is not on disk, and no ack that leaves nothing to write was told of it");
      }
    }
  }
}

void Ledger::check_order(Uid uid, WorkerId worker) {
  const Message& m = message(uid);
  // What was there at the start may be withheld until all sessions are back.
  const bool was_there = m.where == Where::segment && m.stored_in != incarnation_;
  if (!m.grants.empty() || m.publisher == 0 || was_there) return;
  Uid& last = last_of_[{worker, m.queue, m.lane, m.publisher}];
  if (last != 0 && m.offer < message(last).offer) {
    throw Broken("publish_order_within_a_lane",
                 print(uid, worker) + ": sent after " + print(last) + ", which was published later");
  }
  last = uid;
}

void Ledger::check_ends_are_committed(const Message& m, WorkerId worker) const {
  for (const HoldingId id : m.holdings) {
    const Holding& other = holding(id);
    if (other.worker == worker || !other.open || other.forgotten || other.given_up) continue;
    if (is_of_what_is_no_more(other.grant)) continue;
    const WorkerState& holder = workers_[other.worker];
    const auto noted = noted_.find({holder.token, holder.shard});
    if (noted == noted_.end() || noted->second > other.granted_at_us) continue;
    throw Broken("an_end_is_committed_before_its_messages_go_on",
                 print(other.uid, worker) + ": sent, and the store still notes the session of process " +
                     std::to_string(holder.process) + ", which has not settled it");
  }
}

bool Ledger::may_apply(const Message& m, const Holding& held) const {
  if (!held.settled || held.applied || held.forgotten) return false;
  // A record keeps the lease of the last outcome applied to it: what was settled under an older one was heard, or
  // stale.
  if (held.grant <= m.applied_grant) return false;
  const Grant& last = m.grants.back();
  if (last.incarnation == incarnation_) return held.grant == last.seq;
  const WorkerState& who = workers_[held.worker];
  return noted_at_start_.contains({who.token, who.shard});
}

}  // namespace weir::simulation
