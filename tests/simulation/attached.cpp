// The ledger: who is attached, and how long a type has been one that nobody knows.
#include <algorithm>

#include "ledger.hpp"

namespace weir::simulation {

bool Ledger::knows(const WorkerState& worker, QueueId queue, std::size_t type) const {
  const auto at = worker.attach.find(queue);
  if (at == worker.attach.end()) return false;
  const auto& types = at->second;
  return types.empty() || std::find(types.begin(), types.end(), scenario_.types[type]) != types.end();
}

std::int64_t Ledger::attended_us(QueueId queue) const {
  const auto at = crowds_.find(queue);
  if (at == crowds_.end()) return 0;
  return at->second.attended_us + (at->second.workers > 0 ? clock_.now_us - at->second.since_us : 0);
}

void Ledger::known_until(const WorkerState& worker, std::int64_t at_us) {
  for (const auto& [queue, types] : worker.attach) {
    for (std::size_t type = 0; type < scenario_.types.size(); ++type) {
      if (!knows(worker, queue, type)) continue;
      auto& from = unknown_from_us_[{queue, type}];
      from = std::max(from, attended_us(queue) - (clock_.now_us - at_us));
    }
  }
}

void Ledger::attached(WorkerId id) {
  WorkerState& worker = workers_[id];
  worker.hello_at_us = clock_.now_us;
  if (!worker.surely_attached) worker.attached_at_us = clock_.now_us;
  worker.surely_attached = true;
  if (!worker.maybe_attached) {
    worker.maybe_attached = true;
    for (const auto& [queue, types] : worker.attach) {
      Crowd& crowd = crowds_[queue];
      if (crowd.workers++ == 0) crowd.since_us = clock_.now_us;
    }
  }
  // What it knows counts from its end: until then it is asked itself, and what was sealed before its HELLO was buried
  // before.
}

/// Its end is on disk: it was decided since the seal before this batch's. A HELLO since then may have come after it.
void Ledger::detached(WorkerState& worker) {
  worker.surely_attached = false;
  if (!worker.maybe_attached || worker.hello_at_us >= sealed_before_us_) return;
  worker.maybe_attached = false;
  known_until(worker, sealed_before_us_);
  for (const auto& [queue, types] : worker.attach) {
    const std::int64_t attended = attended_us(queue);
    Crowd& crowd = crowds_[queue];
    crowd.attended_us = attended;
    crowd.since_us = clock_.now_us;
    --crowd.workers;
  }
}

void Ledger::nobody_attached() {
  for (WorkerState& worker : workers_) worker.surely_attached = worker.maybe_attached = false;
  crowds_.clear();
  unknown_from_us_.clear();
  for (const Message& m : messages_) {
    if (m.offered) unknown_from_us_[{m.queue, m.type}] = 0;
  }
}

void Ledger::check_buried(Uid uid) const {
  const Message& m = message(uid);
  for (WorkerId id = 0; id < workers_.size(); ++id) {
    const WorkerState& worker = workers_[id];
    if (!worker.surely_attached || worker.attached_at_us >= sealed_before_us_ || !knows(worker, m.queue, m.type)) {
      continue;
    }
    throw Broken("only_what_nobody_knows_is_buried", print(uid, id) + ": it knows that type, and is attached");
  }
  const auto from = unknown_from_us_.find({m.queue, m.type});
  const std::int64_t waited = attended_us(m.queue) - (from == unknown_from_us_.end() ? 0 : from->second);
  if (waited < policy(m).unknown_grace.count()) {
    throw Broken("only_what_nobody_knows_is_buried",
                 print(uid) + " is buried; somebody was attached, and nobody knew its type, for no more than " +
                     std::to_string(waited) + " us");
  }
}

}  // namespace weir::simulation
