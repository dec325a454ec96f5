// The ledger's names for things, and the end of a run.
#include "ledger.hpp"

#include <algorithm>

#include "outcomes.hpp"

namespace weir::simulation {

Ledger::Ledger(const Scenario& scenario, const Clock& clock, CoverageTable& coverage)
    : scenario_(scenario), clock_(clock), coverage_(coverage) {
  messages_.reserve(1024);
  holdings_.reserve(4096);
}

Uid Ledger::make(std::size_t queue, Lane lane, std::size_t type, std::int64_t delay_us, std::size_t payload_bytes,
                 std::int64_t deliver_at_us) {
  Message& message = messages_.emplace_back();
  message.queue = static_cast<QueueId>(queue + 1);  // the core numbers them in the order of its file
  message.lane = lane;
  message.type = static_cast<std::uint16_t>(type);
  message.delay_us = delay_us;
  message.deliver_at_us = deliver_at_us;
  const auto uid = static_cast<Uid>(messages_.size());
  message.bytes = body_of(uid, payload_bytes).size();
  return uid;
}

Uid Ledger::uid_at(const Place& place) const {
  const auto at = places_.find(place);
  return at == places_.end() ? 0 : at->second;
}

const QueuePolicy& Ledger::policy(const Message& message) const { return scenario_.queues[message.queue - 1].policy; }

std::string Ledger::print(Uid uid) const {
  const Message& m = message(uid);
  std::string text = "message " + std::to_string(uid);
  if (m.where != Where::nowhere) {
    text += " (" + print_id(scenario_.queues[m.queue - 1].name, m.place.segment, m.place.index) + ")";
  }
  return text + ", " + message_states[static_cast<std::size_t>(state_of(m))];
}

std::string Ledger::print(Uid uid, WorkerId worker) const {
  const WorkerState& state = workers_[worker];
  return print(uid) + ", process " + std::to_string(state.process) + " shard " + std::to_string(state.shard);
}

MessageState Ledger::state_of(const Message& m) const {
  switch (m.where) {
    case Where::nowhere:
      return MessageState::offered;
    case Where::gone:
      return MessageState::gone;
    case Where::dead:
      return MessageState::dead;
    case Where::purged:
      return MessageState::purged;
    default:
      break;
  }
  if (!m.holdings.empty()) {
    const Holding& last = holding(m.holdings.back());
    if (last.open) return MessageState::running;
    if (last.settled && !last.applied && last.outcome != Outcome::release) return MessageState::settling;
  }
  if (!m.grants.empty() && (m.holdings.empty() || holding(m.holdings.back()).grant < grants_) &&
      m.grants.back().incarnation == incarnation_) {
    return MessageState::sent;
  }
  return m.where == Where::record ? MessageState::record : MessageState::waiting;
}

void Ledger::hit(const Message& m, std::size_t column) { coverage_.hit(static_cast<std::size_t>(state_of(m)), column); }

void Ledger::happened(std::size_t column) {
  for (const Message& m : messages_) {
    if (m.offered) hit(m, column);
  }
}

bool Ledger::is_done() const {
  if (unfinished_ > 0) return false;
  return std::none_of(messages_.begin(), messages_.end(),
                      [](const Message& m) { return m.offered && m.source == 0 && m.told == Told::nothing; });
}

std::string Ledger::unfinished() const {
  std::string out;
  for (Uid uid = 1; uid <= messages_.size(); ++uid) {
    const Message& m = message(uid);
    const bool unanswered = m.offered && m.source == 0 && m.told == Told::nothing;
    if (!unanswered && m.where != Where::segment && m.where != Where::record) continue;
    out += "  " + print(uid) + (unanswered ? ", unanswered" : "") + "\n";
  }
  return out;
}

void Ledger::check_end(const v1::Queues& queues, const v1::Workers& workers) const {
  for (Uid uid = 1; uid <= messages_.size(); ++uid) {
    const Message& m = message(uid);
    if (!m.offered) continue;
    if (m.source == 0 && m.told == Told::nothing) {
      throw Broken("every_publish_is_answered", print(uid) + " was published, and never answered");
    }
    if (m.told == Told::confirmed && m.where == Where::nowhere && !m.lost) {
      throw Broken("nothing_confirmed_is_lost", print(uid) + " was confirmed, and is nowhere");
    }
    if (m.where == Where::segment || m.where == Where::record) {
      throw Broken("everything_ends", print(uid) + " is still there though all has been well for long");
    }
  }
  for (const auto& queue : queues.queues()) {
    const auto totals = totals_.find(queue.id());
    const Totals expected = totals == totals_.end() ? Totals{} : totals->second;
    if (queue.ready() + queue.leased() + queue.delayed() != 0 || queue.bytes() != 0) {
      throw Broken("counts_are_derived", "the queue is empty, and says: " + queue.ShortDebugString());
    }
    // What was acked before it was written is in the broker's totals if it lived until its next commit.
    const bool right = queue.published() >= expected.published &&
                       queue.published() <= expected.published + expected.unwritten &&
                       queue.published() - queue.acked() == expected.published - expected.acked;
    if (!right) {
      throw Broken("totals_are_right", std::to_string(expected.published) + " were published, at most " +
                                           std::to_string(expected.unwritten) + " more were not written, and " +
                                           std::to_string(expected.acked) +
                                           " acked; the queue says: " + queue.ShortDebugString());
    }
    const auto dead = std::count_if(messages_.begin(), messages_.end(),
                                    [&](const Message& m) { return m.queue == queue.id() && m.where == Where::dead; });
    if (queue.dead() != static_cast<std::uint64_t>(dead)) {
      throw Broken("totals_are_right",
                   std::to_string(dead) + " dead letters; the queue says: " + queue.ShortDebugString());
    }
  }
  for (const auto& worker : workers.workers()) {
    if (worker.held_messages() != 0 || worker.held_bytes() != 0) {
      throw Broken("no_credit_leaks", "nothing is held, and the broker says: " + worker.ShortDebugString());
    }
  }
}

}  // namespace weir::simulation
