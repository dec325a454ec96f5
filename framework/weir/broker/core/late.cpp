// Late news of a process that was given up for lost: that it lives, or what it died of.
#include "weir/broker/core/state.hpp"

namespace weir::broker::core {

void judge_lost(Turn& turn, const std::set<Place>& suspects, const std::map<Place, v1::Suspicion>& still_suspect) {
  std::size_t cleared = 0;
  for (auto& [id, queue] : turn.state.queues) {
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
      move_message(turn.state, *queue,
                   {.place = at->place,
                    .lane = at->lane,
                    .source = Source::record,
                    .at_us = turn.state.clock_us(turn.now.instant),
                    .attempts = at->attempts,
                    .lease = at->lease,
                    .attempt = {},
                    .suspicion = suspicion});
      at = heads.erase(at);
      if (suspicion == v1::UNSUSPECTED) ++cleared;
    }
    if (heads.empty()) queue->suspects.erase(kind);
  }
  // A suspect that another process tries now is left as it is: it is cleared when it settles.
  if (cleared > 0) note(turn.actions, Note::Level::info, "suspects_cleared", {{"messages", std::to_string(cleared)}});
}

bool on_late_death(Turn& turn, const ProcessToken& token, const v1::DeathReport& death) {
  const auto lost = turn.state.lost.find(token);
  if (lost == turn.state.lost.end()) return false;
  std::map<Place, v1::Suspicion> begun;
  for (const auto& one : death.started()) {
    const auto queue = turn.state.queues_by_name.find(one.queue());
    if (death.on_purpose() || queue == turn.state.queues_by_name.end()) continue;
    // A culprit is not charged any more: it may run in another process by now. It is the first to be tried.
    begun[{queue->second->id, one.segment(), one.index()}] = one.part() == v1::Started::SUSPENDED ? v1::WAS_STARTED
                                                             : one.part() == v1::Started::ENDED   ? v1::HAD_ENDED
                                                                                                  : v1::WAS_ON_CPU;
  }
  judge_lost(turn, lost->second.suspects, begun);
  turn.state.lost.erase(lost);
  return true;
}

}  // namespace weir::broker::core
