// The ledger: what publishers and workers do and hear.
#include <algorithm>

#include "ledger.hpp"
#include "outcomes.hpp"

namespace weir::simulation {
namespace {

/// A publisher's mark is kept for an hour, by the broker's own time.
constexpr std::int64_t mark_surely_kept_us = 45LL * 60 * 1'000'000;

}  // namespace

// ---- publishers

void Ledger::offered(Uid uid, std::uint32_t publisher, const PublisherId& id) {
  Message& m = message(uid);
  m.publisher = publisher;
  m.name.publisher = id;
  offer(m);
}

void Ledger::numbered(const v1::Publish& publish, std::string_view run) {
  for (const auto& group : publish.groups()) {
    std::uint64_t number = group.first_number();
    for (const std::uint32_t length : group.index().lengths()) {
      const Uid uid = uid_of(run.substr(0, length)).value_or(0);
      run.remove_prefix(std::min<std::size_t>(length, run.size()));
      if (uid == 0 || uid > messages_.size()) throw Broken("bytes_are_whole", "a body is published that nobody made");
      MessageName& name = message(uid).name;
      if (name.number == 0) name.number = number;
      if (name.number != number) {
        throw Broken("a_name_never_changes", print(uid) + " is published again as its publisher's " +
                                                 std::to_string(number) + ", and was its " +
                                                 std::to_string(name.number));
      }
      ++number;
    }
  }
}

void Ledger::offer(Message& m) {
  m.offered = true;
  m.offer = ++offers_;
  m.offered_at_us = clock_.now_us;
  unknown_from_us_.try_emplace({m.queue, m.type}, attended_us(m.queue));
}

void Ledger::told_confirmed(Uid uid, const std::string& id) {
  Message& m = message(uid);
  hit(m, MessageEvent::confirmed);
  if (m.told != Told::nothing) throw Broken("answered_once", print(uid) + " was answered before");
  if (!elide(uid) && !m.lost) {
    throw Broken(
        "confirmed_means_on_disk",
        print(uid) + " is confirmed; it is not on disk, and no ack that leaves nothing to write was told of it");
  }
  if (!id.empty() && id != print_id(scenario_.queues[m.queue - 1].name, m.place.segment, m.place.index)) {
    throw Broken("a_place_never_changes", print(uid) + " was confirmed as " + id);
  }
  m.told = Told::confirmed;
}

void Ledger::told_refused(Uid uid) {
  Message& m = message(uid);
  hit(m, MessageEvent::refused);
  if (m.told != Told::nothing) throw Broken("answered_once", print(uid) + " was answered before");
  begin_again(m);
  if (m.where != Where::nowhere) throw Broken("refused_means_not_stored", print(uid) + " is refused, and is stored");
  const QueueLimit& most = policy(m).most;
  const DeadPolicy& dead = policy(m).dead;
  const bool may_refuse = ((most.messages || most.bytes) && most.on_full == OnFull::refuse) ||
                          (dead.most && dead.on_full == OnDeadFull::refuse);
  if (!may_refuse) throw Broken("a_full_queue_takes_nothing", print(uid) + " is refused by a queue that never refuses");
  m.told = Told::refused;
  m.told_at_us = clock_.now_us;
  check_may_be_refused(uid);
}

void Ledger::check_may_be_refused(Uid uid) const {
  if (!granted_since_.empty()) return;  // it may have been full in a store that is no more
  const Message& m = message(uid);
  // Whatever may have been in it then, at the most; and the rest of its group, of which all is refused or nothing.
  Load all;
  std::uint64_t ever_dead = 0;
  for (const Message& other : messages_) {
    if (other.queue != m.queue || !other.offered) continue;
    ever_dead += other.dead_since_us != 0 ? 1 : 0;
    const bool was_there = other.where == Where::nowhere || other.where == Where::segment ||
                           other.where == Where::record || other.left_at_us >= m.offered_at_us;
    const bool refused_before = other.told == Told::refused && other.told_at_us != clock_.now_us;
    if (was_there && !refused_before) all += {Messages{1}, Bytes{other.bytes}};
  }
  const QueueLimit& most = policy(m).most;
  const DeadPolicy& dead = policy(m).dead;
  const bool was_full = most.on_full == OnFull::refuse &&
                        ((most.messages && all.messages > *most.messages) || (most.bytes && all.bytes > *most.bytes));
  const bool dead_were_full = dead.most && dead.on_full == OnDeadFull::refuse && ever_dead >= dead.most->value;
  if (was_full || dead_were_full) return;
  throw Broken("refused_only_when_full", print(uid) +
                                             " is refused; since it was published its queue held no more than " +
                                             std::to_string(all.messages.value) + " messages of " +
                                             std::to_string(all.bytes.value) + " bytes, itself and its group included");
}

void Ledger::told_in_doubt(Uid uid, std::int64_t silent_us) {
  Message& m = message(uid);
  hit(m, MessageEvent::in_doubt);
  if (m.told != Told::nothing) throw Broken("answered_once", print(uid) + " was answered before");
  if (silent_us < mark_surely_kept_us) {
    throw Broken("in_doubt_only_once_forgotten", print(uid) +
                                                     " is in doubt, and its publisher was away for no more than " +
                                                     std::to_string(silent_us / 1'000'000) + " s");
  }
  m.told = Told::in_doubt;
}

void Ledger::to_be_sent_again(Uid uid) {
  Message& m = message(uid);
  if (m.where != Where::segment && m.where != Where::record) m.uncredited = true;
}

void Ledger::abandoned(Uid uid) {
  if (message(uid).told == Told::nothing) message(uid).told = Told::abandoned;
}

// ---- processes

ProcessId Ledger::process_started() {
  processes_.push_back({.heard_at_us = clock_.now_us});
  return static_cast<ProcessId>(processes_.size() - 1);
}

WorkerId Ledger::worker_started(ProcessId process, const engine::SessionOptions& session) {
  WorkerState& worker = workers_.emplace_back();
  worker.process = process;
  worker.shard = session.shard;
  worker.token = session.process;
  for (std::size_t i = 0; i < scenario_.queues.size(); ++i) {
    for (const auto& [queue, types] : session.queues) {
      if (queue == scenario_.queues[i].name) worker.attach[static_cast<QueueId>(i + 1)] = types;
    }
  }
  return static_cast<WorkerId>(workers_.size() - 1);
}

void Ledger::heard(ProcessId process) {
  ProcessState& state = processes_[process];
  if (clock_.now_us - state.heard_at_us > scenario_.session_timeout.count()) state.expired_at_us = clock_.now_us;
  state.heard_at_us = clock_.now_us;
}

void Ledger::process_ended(ProcessId process, Uid died_of) {
  processes_[process].alive = false;
  processes_[process].died_of = died_of;
}

void Ledger::ended_its_process(Uid uid, HoldingId id, bool healed) {
  Message& m = message(uid);
  // What was settled may have been heard: then it has ended, or was counted.
  if (!healed || holding(id).settled) return;
  // While a restart is not over nobody pays for what was claimed; nor for what a process of two stores names.
  if (holding(id).granted_at_us < started_at_us_ || processes_[workers_[holding(id).worker].process].of_two_stores)
    return;
  // Unsuspected, among others, one of one, and alone once for each attempt.
  const std::uint32_t most = policy(m).attempts + 3;
  if (++m.killed <= most) return;
  throw Broken("poison_ends_within_its_attempts",
               print(uid) + " has ended " + std::to_string(m.killed) + " processes, with nothing else going wrong");
}

bool Ledger::may_have_lost(WorkerId worker, std::int64_t since_us) {
  ProcessState& state = processes_[workers_[worker].process];
  if (!state.alive) return true;
  if (clock_.now_us - state.heard_at_us > scenario_.session_timeout.count()) state.expired_at_us = clock_.now_us;
  return state.expired_at_us >= since_us;
}

// ---- deliveries

void Ledger::check_nobody_else(Uid uid, WorkerId worker, const char* what) {
  for (const HoldingId id : message(uid).holdings) {
    const Holding& other = holding(id);
    if (other.forgotten || is_of_what_is_no_more(other.grant)) continue;
    const bool is_stale = other.grant <= message(uid).applied_grant;
    if (!other.open && (!other.settled || other.applied || is_stale || other.outcome == Outcome::release)) continue;
    if (may_have_lost(other.worker, other.granted_at_us)) continue;
    if (other.open) {
      throw Broken("one_live_lease", print(uid, worker) + ": " + what + " while process " +
                                         std::to_string(workers_[other.worker].process) + " shard " +
                                         std::to_string(workers_[other.worker].shard) + " holds it");
    }
    throw Broken("no_duplicate_but_by_the_rules", print(uid, worker) + ": " + what + " though process " +
                                                      std::to_string(workers_[other.worker].process) +
                                                      ", which lives, settled it (" + kind_of(other.outcome).name +
                                                      ") and has not been told that it is on disk");
  }
}

HoldingId Ledger::taken(WorkerId worker, std::string_view queue, const engine::Delivery& delivery) {
  const auto found = uid_of(delivery.body);
  if (!found || *found == 0 || *found > messages_.size()) {
    throw Broken("bytes_are_whole", "a delivery of " + std::string(queue) + " has a body that nobody published");
  }
  const Uid uid = *found;
  Message& m = message(uid);
  hit(m, MessageEvent::taken);
  const std::string id = print_id(queue, delivery.segment, delivery.index);
  if (delivery.body.size() != m.bytes) {
    throw Broken("bytes_are_whole", print(uid, worker) + " is delivered with another length");
  }
  if (delivery.type != scenario_.types[m.type]) {
    throw Broken("bytes_are_whole", print(uid, worker) + " is delivered as a " + std::string(delivery.type));
  }
  if (delivery.key != key_of(uid)) {
    throw Broken("bytes_are_whole", print(uid, worker) + " is delivered with key '" + std::string(delivery.key) + "'");
  }
  const auto grant = std::find_if(m.grants.rbegin(), m.grants.rend(), [&](const Grant& one) {
    return one.worker == worker && one.place.segment == delivery.segment && one.place.index == delivery.index;
  });
  if (grant == m.grants.rend()) {
    if (id != print_id(scenario_.queues[m.queue - 1].name, m.place.segment, m.place.index)) {
      throw Broken("a_place_never_changes", print(uid, worker) + " is delivered as " + id);
    }
    throw Broken("one_live_lease", print(uid, worker) + " was never granted to it");
  }
  check_name(uid, delivery.name);
  if (delivery.attempt != grant->attempt) {
    throw Broken("attempts_count_as_the_rules_say",
                 print(uid, worker) + ": delivered as attempt " + std::to_string(delivery.attempt));
  }
  // What a broker sent whose commits are no more may be read late: of what was settled then nothing is known here.
  if (!grant->forgotten && !is_of_what_is_no_more(grant->seq) && !may_have_lost(worker, grant->at_us)) {
    check_nobody_else(uid, worker, "taken");
  }
  Holding& taken = holdings_.emplace_back();
  taken.uid = uid;
  taken.worker = worker;
  taken.grant = grant->seq;
  taken.granted_at_us = grant->at_us;
  taken.forgotten = grant->forgotten;
  taken.name = delivery.name;
  const auto holding_id = static_cast<HoldingId>(holdings_.size());
  m.holdings.push_back(holding_id);
  return holding_id;
}

void Ledger::check_name(Uid uid, const MessageName& name) {
  const Message& m = message(uid);
  Origin origin{name, 0, 0, 0};
  MessageName expected = m.name;
  if (m.source != 0) {
    origin = {holding(m.source).name, m.queue, m.lane, m.ordinal};
    expected = output_names_.try_emplace(origin, name).first->second;
  }
  if (name != expected) {
    throw Broken("a_name_never_changes", print(uid) + " is named " + name.text() + ", and was " + expected.text());
  }
  if (named_.try_emplace(name, origin).first->second != origin) {
    throw Broken("one_name_one_message", print(uid) + " is named " + name.text() + ", as another message is");
  }
}

void Ledger::told_lost(HoldingId id) {
  Holding& lost = holding(id);
  const Message& m = message(lost.uid);
  const bool another =
      std::any_of(m.grants.begin(), m.grants.end(), [&](const Grant& grant) { return grant.worker != lost.worker; });
  if (!lost.forgotten && !is_of_what_is_no_more(lost.grant) && !another &&
      !may_have_lost(lost.worker, lost.granted_at_us)) {
    throw Broken("a_lease_lives_as_long_as_its_process",
                 print(lost.uid, lost.worker) +
                     ": told that its lease is lost; it was heard of all the time, and "
                     "nobody else was ever sent the message");
  }
  lost.open = false;
  trial_over(id);
}

void Ledger::blamed(std::string_view queue, SegmentNumber segment, std::uint32_t index) {
  for (std::size_t i = 0; i < scenario_.queues.size(); ++i) {
    if (scenario_.queues[i].name != queue) continue;
    if (const Uid uid = uid_at({static_cast<QueueId>(i + 1), segment, index}); uid != 0) message(uid).blamed = true;
  }
}

void Ledger::settled(HoldingId id, Outcome outcome, std::optional<Duration> asked, std::vector<Uid> outputs) {
  Holding& held = holding(id);
  std::size_t row = 0;
  while (outcome_kinds[row].outcome != outcome) ++row;
  hit(message(held.uid), static_cast<std::size_t>(MessageEvent::settled) + row);
  if (message(held.uid).suspicion != v1::UNSUSPECTED && outcome != Outcome::release) {
    ++processes_[workers_[held.worker].process].cleared;
  }
  trial_over(id);
  held.open = false;
  held.settled = true;
  held.outcome = outcome;
  held.settled_at_us = clock_.now_us;
  held.asked = asked;
  std::map<std::pair<QueueId, Lane>, std::uint32_t> lanes;
  for (const Uid uid : outputs) {
    Message& output = message(uid);
    output.source = id;
    output.uncredited = true;
    output.ordinal = lanes[{output.queue, output.lane}]++;
    offer(output);
  }
  held.outputs = std::move(outputs);
}

}  // namespace weir::simulation
