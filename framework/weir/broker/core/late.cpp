// What is heard of a process that was given up for lost: that it lives, or of what it died.
#include "weir/broker/core/state.hpp"

namespace weir::broker::core {

void judge_lost(State& state, Now now, const std::set<Place>& suspects,
                const std::map<Place, v1::Suspicion>& still_suspect, Actions& actions) {
  std::size_t cleared = 0;
  for (auto& [id, queue] : state.queues) {
    const auto kind = queue->suspects.find(v1::WAS_STARTED);
    if (kind == queue->suspects.end()) continue;
    auto& heads = kind->second;
    for (auto at = heads.begin(); at != heads.end();) {
      const auto still = still_suspect.find(at->place);
      const auto suspicion = still == still_suspect.end() ? v1::UNSUSPECTED : still->second;
      if (!suspects.contains(at->place) || suspicion == v1::WAS_STARTED) {
        ++at;
        continue;
      }
      move_message(state, *queue, {id, at->lane, at->place.segment}, at->place.index, Source::record, false,
                   state.clock_us(now.instant), at->attempts, at->lease, std::nullopt, suspicion);
      at = heads.erase(at);
      if (suspicion == v1::UNSUSPECTED) ++cleared;
    }
    if (heads.empty()) queue->suspects.erase(kind);
  }
  // What another process tries now is let be: it is cleared when it settles.
  if (cleared > 0) note(actions, Note::Level::info, "suspects_cleared", {{"messages", std::to_string(cleared)}});
}

bool on_late_death(State& state, Now now, const ProcessToken& token, const v1::DeathReport& death, Actions& actions) {
  const auto lost = state.lost.find(token);
  if (lost == state.lost.end()) return false;
  std::map<Place, v1::Suspicion> begun;
  for (const auto& one : death.started()) {
    const auto queue = state.queues_by_name.find(one.queue());
    if (death.on_purpose() || queue == state.queues_by_name.end()) continue;
    // A culprit is not charged any more: it may run elsewhere by now. It is the first to be tried.
    begun[{queue->second->id, one.segment(), one.index()}] = one.part() == v1::Started::SUSPENDED ? v1::WAS_STARTED
                                                             : one.part() == v1::Started::ENDED   ? v1::HAD_ENDED
                                                                                                  : v1::WAS_ON_CPU;
  }
  judge_lost(state, now, lost->second.suspects, begun, actions);
  state.lost.erase(lost);
  return true;
}

}  // namespace weir::broker::core
