// Deaths: what a process held when it died; who is charged for it.
#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// What the report says of one delivery.
using Started = std::map<Place, const v1::Started*>;

std::string why(const v1::DeathReport& death) {
  return death.signal() != 0 ? "its process was ended by signal " + std::to_string(death.signal())
                             : "its process exited with " + std::to_string(death.exit_code());
}

Started by_place(State& state, const v1::DeathReport& death) {
  Started started;
  for (const auto& one : death.started()) {
    const auto queue = state.queues_by_name.find(one.queue());
    if (queue != state.queues_by_name.end()) started[{queue->second->id, one.segment(), one.index()}] = &one;
  }
  return started;
}

/// One attempt is counted: due again after the backoff, or a dead letter.
void charge(State& state, Now now, const Worker& worker, std::uint64_t lease, LeaseRun& run, std::uint32_t offset,
            v1::Attempt attempt, Actions& actions) {
  Queue& queue = *state.find_queue(run.key.queue);
  const bool dead = run.attempt >= queue.policy.attempts;
  std::int64_t at = dead ? micros(now.wall) : state.clock_us(now.instant);
  if (dead) {
    queue.live -= Load{Messages{1}, bytes_of(state, run, offset, offset + 1)};
    queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
  } else {
    at += pause_after(queue.policy.backoff, run.attempt, state.uniform()).count();
    queue.state.set_retried(queue.state.retried() + 1);
  }
  attempt.set_number(run.attempt);
  attempt.set_worker(print_worker(worker));
  bound(attempt);
  note(actions, Note::Level::warning, "delivery_charged",
       {{"message", print_id(queue.name, run.key.segment, run.first + offset)},
        {"worker", attempt.worker()},
        {"attempt", std::to_string(run.attempt)},
        {"dead", dead ? "true" : "false"}});
  move_message(state, queue, run.key, run.first + offset, run.source, dead, at, run.attempt,
               LeaseId{state.incarnation, lease + offset}, std::move(attempt));
  run.open.clear(offset);
}

/// Charges those of the worker's deliveries that the report calls culprits.
void charge_culprits(State& state, Now now, Worker& worker, const Started& started, const std::string& error,
                     Actions& actions) {
  for (auto& [lease, run] : worker.leases) {
    // Not while a session that is yet to come back may hold it under a later lease.
    if (run.settled_by_worker || (!state.recovered && run.claimed != LeaseId{})) continue;
    for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
      const auto at = started.find({run.key.queue, run.key.segment, run.first + i});
      if (at == started.end() || at->second->part() != v1::Started::CULPRIT) continue;
      v1::Attempt attempt = at->second->attempt();
      if (attempt.error().empty()) attempt.set_error(error);
      charge(state, now, worker, lease, run, i, std::move(attempt), actions);
    }
  }
}

}  // namespace

void on_death(State& state, Now now, const Client& client, const v1::DeathReport& death, Actions& actions) {
  const auto token = ProcessToken::from(death.process_token());
  const auto process = token ? state.processes.find(*token) : state.processes.end();
  if (process == state.processes.end()) {
    refuse(state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "death report: no session of this broker bears this process token", false, actions);
    return;
  }
  const Started started = by_place(state, death);
  while (!process->second.workers.empty()) {
    Worker& worker = *process->second.workers.begin()->second;
    charge_culprits(state, now, worker, started, why(death), actions);
    end_worker(state, process->second, worker, why(death), actions);
  }
  state.processes.erase(process);
  state.gathering.buried.push_back(client.connection);
}

}  // namespace weir::broker::core
