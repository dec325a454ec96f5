// The ledger: the data folder is wiped, or an older copy of it put back, under clients that live on.
//
// What was on disk since the copy was made is gone, and what was confirmed of it is lost: that is the operator's doing.
// What clients did and heard stays. Who has heard of commits that the copy does not have, or whose session it has not
// noted, holds nothing in it.
#include <algorithm>

#include "ledger.hpp"

namespace weir::simulation {

class Ledger::Disk {
 public:
  std::vector<Message> messages;  ///< of each only what is of the disk
  std::vector<bool> applied;      ///< holdings
  std::map<Place, Uid> places;
  std::map<core::SegmentKey, std::vector<Uid>> segments;
  std::map<QueueId, Totals> totals;
  std::map<Session, std::int64_t> noted;
  std::map<QueueId, Dead> dead;
  std::map<QueueId, Live> live;
  std::size_t unfinished = 0;
  std::uint32_t stored_incarnation = 0;
  std::uint64_t grants = 0;
};

std::shared_ptr<const Ledger::Disk> Ledger::disk() const {
  auto now = std::make_shared<Disk>();
  now->messages = messages_;
  for (const Holding& one : holdings_) now->applied.push_back(one.applied);
  now->places = places_;
  now->segments = segments_;
  now->totals = totals_;
  now->noted = noted_;
  now->dead = dead_;
  now->live = live_;
  now->unfinished = unfinished_;
  now->stored_incarnation = stored_incarnation_;
  now->grants = grants_;
  return now;
}

void Ledger::put_back(const Disk* then) {
  const Disk nothing;
  const Disk& disk = then == nullptr ? nothing : *then;
  for (std::size_t i = 0; i < messages_.size(); ++i) {
    const Message before = i < disk.messages.size() ? disk.messages[i] : Message{};
    Message& m = messages_[i];
    const bool was_there = m.where != Where::nowhere || m.ahead;
    m.where = before.where;
    m.lost = m.where == Where::nowhere && (m.lost || was_there);
    m.ahead = before.ahead;
    m.elided_in = before.elided_in;
    m.stored_in = before.stored_in;
    m.attempts = before.attempts;
    m.due_us = before.due_us;
    m.left_at_us = before.left_at_us;
    m.by_wall = before.by_wall;
    m.dead_since_us = before.dead_since_us;
    m.suspicion = before.suspicion;
    m.applied_grant = before.applied_grant;
    m.history = before.history;
    m.uncredited = before.uncredited;
    if (m.where != Where::nowhere || m.ahead) {
      m.place = before.place;
      continue;
    }
    m.uncredited = true;  // if it comes again it is sent again
    for (Grant& grant : m.grants) grant.forgotten = true;
    for (const HoldingId id : m.holdings) holding(id).forgotten = true;
  }
  for (std::size_t i = 0; i < holdings_.size(); ++i) {
    holdings_[i].applied = i < disk.applied.size() && disk.applied[i];
  }
  places_ = disk.places;
  segments_ = disk.segments;
  totals_ = disk.totals;
  noted_ = disk.noted;
  dead_ = disk.dead;
  live_ = disk.live;
  unfinished_ = disk.unfinished;
  stored_incarnation_ = disk.stored_incarnation;
  grants_before_ = grants_;
  granted_since_.emplace_back(disk.grants, grants_);
  for (WorkerId id = 0; id < workers_.size(); ++id) {
    if (!noted_.contains({workers_[id].token, workers_[id].shard})) forget(id, grants_before_);
  }
}

void Ledger::speaks_of_another_store(WorkerId worker) {
  forget(worker, grants_before_);
  processes_[workers_[worker].process].of_two_stores = true;
}

bool Ledger::is_of_what_is_no_more(std::uint64_t grant) const {
  return std::any_of(granted_since_.begin(), granted_since_.end(),
                     [&](const auto& since) { return grant > since.first && grant <= since.second; });
}

void Ledger::forget(WorkerId worker, std::uint64_t until) {
  for (Message& m : messages_) {
    for (Grant& grant : m.grants) {
      if (grant.worker == worker && grant.seq <= until) grant.forgotten = true;
    }
  }
  for (Holding& one : holdings_) {
    if (one.worker == worker && one.grant <= until) one.forgotten = true;
  }
}

}  // namespace weir::simulation
