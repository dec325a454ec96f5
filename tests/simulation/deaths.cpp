// The ledger: who may pay for a death.
#include "ledger.hpp"

namespace weir::simulation {

void Ledger::died_in(ProcessId process, Uid uid, v1::Started::Part part, bool alone) {
  Message& m = message(uid);
  m.blamed_in = process;
  m.culprit = part == v1::Started::CULPRIT;
  m.alone_on_cpu = part == v1::Started::ON_CPU && alone;
}

bool Ledger::may_come_of_a_death(const Message& m, const core::MoveMessage& write) {
  if (m.grants.empty()) return false;
  const bool charged = write.attempts == m.attempts + 1;
  if (!charged && write.attempts != m.attempts) return false;
  if (write.dead != (charged && write.attempts >= policy(m).attempts)) return false;
  // Its process is back, or another was shown to be the cause.
  if (!charged && write.suspicion == v1::UNSUSPECTED) return m.suspicion != v1::UNSUSPECTED;
  const Grant& last = m.grants.back();
  if (!may_have_lost(last.worker, last.at_us)) return false;
  if (!charged) return true;
  // The innocent don't pay: it was named, or tried and nobody else can have been it.
  const bool blamed = m.blamed_in == workers_[last.worker].process;
  if (blamed && m.culprit) return true;
  return m.suspicion == v1::ALONE || (m.suspicion != v1::UNSUSPECTED && blamed && m.alone_on_cpu);
}

}  // namespace weir::simulation
