// Suspects: messages that were at work in a process that died of an unknown cause. They are tried so that the next
// death tells more than the last one:
// - First come those that were on the CPU, one at a time in a process.
// - Then come those whose handlers had just ended, the last to end first, and then those that had merely started. A
//   process tries one of these at first, and one more at once with each that it settles.
// - If two deaths could not tell which of several it was, each of these is tried in a process that is sent nothing else
//   meanwhile.
#include <algorithm>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

/// A thread or a timer that a handler left behind ends its process within moments, as do most late causes of a death.
constexpr Duration quiet_least = std::chrono::milliseconds(250);
/// A process that is started again is back within this time, or will not be back soon.
constexpr Duration back_within = std::chrono::seconds(5);

struct Trials {
  std::uint64_t all = 0;
  std::uint64_t one_by_one = 0;  ///< of these, those that want no other suspect beside them
};

/// True for suspects of which a process tries one more at once with each that it settles.
bool goes_with_others(v1::Suspicion suspicion) { return suspicion < v1::WAS_ON_CPU; }

/// The suspects that the process tries now.
Trials trials(Process& process) {
  Trials found;
  for (auto& [shard, worker] : process.workers) {
    std::erase_if(worker->trials, [&](const auto& trial) { return !worker->leases.contains(trial.first); });
    found.all += worker->trials.size();
    for (const auto& [lease, trial] : worker->trials) found.one_by_one += goes_with_others(trial.suspicion) ? 0 : 1;
  }
  return found;
}

/// True if the worker could be sent this suspect once its window has room.
bool serves(const Worker& worker, const Attached& attached, const RecordHead& head) {
  return worker.connection != 0 && worker.noted && worker.window.messages.value > 0 && knows(attached, head.type);
}

/// Suspects are tried in all processes of a group except one, or in its only process. In an only process, the suspects
/// that most likely end it wait while another process is expected back: one that has ended, or is cut off and may have.
/// So one process goes on undisturbed.
bool may_try(const State& state, Now now, const Queue& queue, const Worker& worker, const RecordHead& head) {
  const ProcessToken* spared = nullptr;
  bool several = false;
  bool one_is_cut_off = false;
  for (Worker* one : queue.attached) {
    if (one->group != worker.group) continue;
    one_is_cut_off = one_is_cut_off || (one->connection == 0 && one->token != worker.token);
    if (!serves(*one, *one->attachment(&queue), head)) continue;
    several = several || (spared != nullptr && one->token != *spared);
    if (spared == nullptr || one->token < *spared) spared = &one->token;
  }
  if (several) return worker.token != *spared;
  if (goes_with_others(head.suspicion)) return true;
  if (one_is_cut_off) return false;
  const auto awaited = state.awaited.find(worker.group);
  return awaited == state.awaited.end() || now.instant >= awaited->second;
}

/// True if the process is kept for a suspect that it has, or can still be sent.
bool keeps(State& state, Now now, Process& process) {
  if (takes_others(state, now, process)) return false;
  Queue& queue = *state.find_queue(process.alone->queue);
  const auto kind = queue.suspects.find(v1::ALONE);
  if (kind == queue.suspects.end()) return true;
  const auto head = std::ranges::find(kind->second, *process.alone, &RecordHead::place);
  if (head == kind->second.end()) return true;  // the process tries it now
  for (auto& [shard, worker] : process.workers) {
    const Attached* attached = worker->attachment(&queue);
    if (attached != nullptr && serves(*worker, *attached, *head) && may_try(state, now, queue, *worker, *head))
      return true;
  }
  process.alone.reset();
  return false;
}

/// Chooses a process for the next suspect that is tried alone: the one that holds least, one per group at a time.
void keep_process(State& state, Now now, Queue& queue) {
  std::set<std::string_view> groups;  // those that keep a process already
  std::set<Place> kept;
  for (auto& [token, process] : state.processes) {
    if (!process.alone || !keeps(state, now, process)) continue;
    kept.insert(*process.alone);
    for (const auto& [shard, worker] : process.workers) groups.insert(worker->group);
  }
  for (const RecordHead& head : queue.suspects.at(v1::ALONE)) {
    if (kept.contains(head.place)) continue;
    Worker* chosen = nullptr;
    for (Worker* worker : queue.attached) {
      if (groups.contains(worker->group) || !serves(*worker, *worker->attachment(&queue), head)) continue;
      if (!may_try(state, now, queue, *worker, head)) continue;
      if (chosen == nullptr || held_by(*worker->process) < held_by(*chosen->process)) chosen = worker;
    }
    if (chosen == nullptr) continue;
    chosen->process->alone = head.place;
    return;
  }
}

void take(Turn& turn, Queue& queue, std::deque<RecordHead>& heads, std::deque<RecordHead>::iterator at, Worker& worker,
          Attached& attached) {
  RecordHead head = std::move(*at);
  heads.erase(at);
  if (heads.empty()) queue.suspects.erase(head.suspicion);
  hand(turn, worker, attached, std::move(head));
}

/// True if the process holds nothing, and has held nothing for a moment: a message that it handled before would have
/// ended it by now. Else it is looked at again when that moment is over.
bool is_quiet(State& state, Now now, Process& process) {
  if (held_by(process).value > 0) return false;
  if (!process.was_sent) return true;
  if (!process.empty_since) process.empty_since = now.instant;
  const Instant due = *process.empty_since + quiet_least;
  if (now.instant < due) state.next_trial = std::min(state.next_trial, due);
  return now.instant >= due;
}

bool hand_alone(Turn& turn, Queue& queue, Worker& worker, Attached& attached) {
  const auto kind = queue.suspects.find(v1::ALONE);
  if (kind == queue.suspects.end() || !is_quiet(turn.state, turn.now, *worker.process)) return false;
  auto& heads = kind->second;
  const auto at = std::ranges::find(heads, *worker.process->alone, &RecordHead::place);
  if (at == heads.end() || !serves(worker, attached, *at)) return false;
  take(turn, queue, heads, at, worker, attached);
  return true;
}

}  // namespace

Messages held_by(const Process& process) {
  Messages all;
  for (const auto& [shard, worker] : process.workers) all += worker->outstanding.messages;
  return all;
}

bool tries_any(Process& process) { return trials(process).all > 0; }

bool hand_suspect(Turn& turn, Queue& queue, Worker& worker, Attached& attached) {
  if (!tries_suspects(turn.state, turn.now, worker.group)) return false;
  if (queue.suspects.begin()->first == v1::ALONE) keep_process(turn.state, turn.now, queue);
  if (worker.process->alone) return hand_alone(turn, queue, worker, attached);
  const Trials going = trials(*worker.process);
  if (going.one_by_one > 0) return false;
  for (auto& [suspicion, heads] : queue.suspects) {
    if (suspicion == v1::ALONE) continue;
    const auto at = std::find_if(heads.begin(), heads.end(),
                                 [&](const RecordHead& head) { return serves(worker, attached, head); });
    if (at == heads.end()) continue;
    const std::uint64_t most = goes_with_others(suspicion) ? 1 + worker.process->cleared : 1;
    if (going.all >= most) return false;
    if (!may_try(turn.state, turn.now, queue, worker, *at)) continue;
    if (!protocol::admits(worker.window, worker.outstanding, at->bytes)) return false;
    take(turn, queue, heads, at, worker, attached);
    return true;
  }
  return false;
}

bool takes_others(State& state, Now now, Process& process) {
  if (!process.alone) return true;
  if (trials(process).one_by_one > 0) return false;  // it tries the suspect now
  const Queue* queue = state.find_queue(process.alone->queue);
  const bool tries = !process.workers.empty() && tries_suspects(state, now, process.workers.begin()->second->group);
  if (queue != nullptr && !queue->paused_until && tries) {
    const auto kind = queue->suspects.find(v1::ALONE);
    if (kind != queue->suspects.end() &&
        std::ranges::find(kind->second, *process.alone, &RecordHead::place) != kind->second.end())
      return false;
  }
  process.alone.reset();
  return true;
}

void on_trial(Now now, Worker& worker, std::uint64_t lease, const RecordHead& head) {
  if (head.suspicion == v1::UNSUSPECTED) return;
  worker.trials.emplace(lease, Worker::Trial{head.suspicion, now.instant});
  if (head.suspicion == v1::ALONE) worker.process->alone = head.place;
}

void await_another(State& state, Now now, const Queue& queue, const std::string& group) {
  const bool has_others = std::ranges::any_of(
      queue.attached, [&](const Worker* one) { return one->group == group && one->window.messages.value > 0; });
  if (!has_others) return;  // if it is awaited already, it is so on
  const Instant until = now.instant + back_within;
  state.awaited[group] = until;
  state.next_trial = std::min(state.next_trial, until);
}

void trials_tick(Turn& turn) {
  if (turn.now.instant < turn.state.next_trial) return;
  turn.state.next_trial = Instant::max();
  for (auto& [token, process] : turn.state.processes) {
    if (!process.alone) continue;
    for (auto& [shard, worker] : process.workers) dispatch_for(turn, *worker);
  }
  if (std::erase_if(turn.state.awaited, [&](const auto& one) { return turn.now.instant >= one.second; }) > 0) {
    for (auto& [id, queue] : turn.state.queues) {
      if (!queue->suspects.empty()) dispatch(turn, *queue);
    }
  }
  for (const auto& [group, until] : turn.state.awaited) turn.state.next_trial = std::min(turn.state.next_trial, until);
}

}  // namespace weir::broker::core
