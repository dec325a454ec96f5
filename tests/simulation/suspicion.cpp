// The ledger: who becomes suspect, and how suspects are tried.
#include <algorithm>

#include "ledger.hpp"
#include "outcomes.hpp"

namespace weir::simulation {

void Ledger::death_told(ProcessId id, const v1::DeathReport& report) {
  ProcessState& process = processes_[id];
  process.told = true;
  process.explained = report.on_purpose();
  for (const auto& one : report.started()) {
    process.explained |= one.part() == v1::Started::CULPRIT;
    for (std::size_t i = 0; i < scenario_.queues.size(); ++i) {
      if (scenario_.queues[i].name != one.queue()) continue;
      process.started.insert(uid_at({static_cast<QueueId>(i + 1), one.segment(), one.index()}));
    }
  }
}

void Ledger::names_settled(WorkerId worker, const v1::Hello& part) {
  for (const auto& claim : part.settled()) {
    for (std::uint32_t i = 0; i < claim.count(); ++i) {
      processes_[workers_[worker].process].settled.insert({claim.queue(), claim.segment(), claim.first() + i});
    }
  }
}

/// It is suspect from now on, or otherwise than before: some process that had begun it must have ended of nobody knows
/// what. One that was killed on purpose, or whose end has a culprit, can only have been lost before that was heard.
void Ledger::check_suspected(Uid uid) {
  const Message& m = message(uid);
  const bool unexplained = std::any_of(m.grants.begin(), m.grants.end(), [&](const Grant& grant) {
    const ProcessState& process = processes_[workers_[grant.worker].process];
    if (!process.told) return may_have_lost(grant.worker, grant.at_us);
    // What it had settled, and its HELLO still named, its handlers may have left something of.
    const bool had = process.settled.contains(m.place) || process.started.contains(uid);
    if (!process.explained && had) return true;
    return process.expired_at_us >= grant.at_us ||
           clock_.now_us - process.heard_at_us > scenario_.session_timeout.count();
  });
  if (unexplained) return;
  throw Broken("only_an_unexplained_death_makes_suspects",
               print(uid) +
                   " becomes suspect; each process that it was sent to lives, had not begun it, was killed on "
                   "purpose, or has a culprit");
}

bool Ledger::is_going(const Trial& trial) {
  const Message& m = message(trial.uid);
  // Only while its handler runs: what was sent may be lost on the way, or be given back unseen by a process that
  // drains; and of what was settled the broker may have heard.
  const bool runs = std::any_of(m.holdings.begin(), m.holdings.end(),
                                [&](HoldingId id) { return holding(id).grant == trial.grant && !holding(id).settled; });
  if (!runs) return false;
  return m.where == Where::record && !m.grants.empty() && m.grants.back().seq == trial.grant &&
         m.applied_grant < trial.grant && !may_have_lost(trial.worker, trial.at_us);
}

void Ledger::trial_over(HoldingId id) {
  const Holding& held = holding(id);
  std::erase_if(trials_, [&](const Trial& trial) { return trial.grant == held.grant; });
}

/// Suspects are tried so that the next death tells more than the last one.
void Ledger::check_trial(Uid uid, WorkerId worker) {
  const v1::Suspicion suspicion = message(uid).suspicion;
  if (trials_.empty() && suspicion == v1::UNSUSPECTED) return;
  std::erase_if(trials_, [&](const Trial& trial) { return trial.uid == uid || !is_going(trial); });
  const ProcessId process = workers_[worker].process;
  std::size_t going = 0;
  for (const Trial& trial : trials_) {
    if (workers_[trial.worker].process != process) continue;
    ++going;
    if (trial.suspicion == v1::ALONE) {
      throw Broken("suspects_are_tried_one_by_one",
                   print(uid, worker) + ": sent, while " + print(trial.uid) + " is tried there alone");
    }
    if (suspicion != v1::UNSUSPECTED && trial.suspicion == v1::WAS_ON_CPU) {
      throw Broken("suspects_are_tried_one_by_one", print(uid, worker) + ": tried, while " + print(trial.uid) +
                                                        ", which was on the CPU, is tried there");
    }
  }
  if (suspicion == v1::UNSUSPECTED) return;
  const std::size_t most = suspicion < v1::WAS_ON_CPU ? processes_[process].cleared : 0;
  if (going > most) {
    throw Broken("suspects_are_tried_one_by_one", print(uid, worker) + ": tried beside " + std::to_string(going) +
                                                      " others; its process has settled " +
                                                      std::to_string(processes_[process].cleared) + " of them");
  }
}

void Ledger::begin_trial(Uid uid, WorkerId worker) {
  const Message& m = message(uid);
  if (m.suspicion != v1::UNSUSPECTED) trials_.push_back({uid, worker, m.grants.back().seq, clock_.now_us, m.suspicion});
}

}  // namespace weir::simulation
