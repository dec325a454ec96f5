// Deaths: who says that a process died, or was lost, or lives again; and what a message pays for it.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
void charge(State& state, Now now, const Charge& charge, v1::Attempt attempt, Actions& actions) {
  Queue& queue = *state.find_queue(charge.key.queue);
  const bool dead = charge.number >= queue.policy.attempts;
  std::int64_t at = state.clock_us(now.instant);
  if (dead) {
    queue.live -= Load{Messages{1}, charge.bytes};
    queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
  } else {
    at += pause_after(queue.policy.backoff, charge.number, state.uniform()).count();
    queue.state.set_retried(queue.state.retried() + 1);
  }
  attempt.set_number(charge.number);
  bound(attempt);
  note(actions, Note::Level::warning, "delivery_charged",
       {{"queue", queue.name},
        {"message", print_id(queue.name, charge.key.segment, charge.index)},
        {"worker", attempt.worker()},
        {"attempt", std::to_string(charge.number)},
        {"dead", dead ? "true" : "false"},
        {"why", attempt.error()}});
  move_message(state, queue, charge.key, charge.index, charge.source, dead, at, charge.number, charge.lease,
               Attempted(std::move(attempt)), charge.suspicion);
}

void on_death(State& state, Now now, const Client& client, const v1::DeathReport& death, Actions& actions) {
  const auto token = ProcessToken::from(death.process_token());
  const auto process = token ? state.processes.find(*token) : state.processes.end();
  if (process == state.processes.end()) {
    if (token && on_late_death(state, now, *token, death, actions)) {
      state.gathering.buried.push_back(client.connection);
      return;
    }
    refuse(state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "death report: no session of this broker bears this process token", false, actions);
    return;
  }
  Finding finding{.why = death.signal() != 0 ? "its process was ended by signal " + std::to_string(death.signal())
                                             : "its process exited with " + std::to_string(death.exit_code()),
                  .report = &death,
                  .reporter = client.connection,
                  .blind = process->second.of_two_stores};
  if (finding.blind) {
    note(actions, Note::Level::warning, "death_is_not_judged",
         {{"why", finding.why},
          {"doing",
           "its process had messages of another store too, and the places that it names may be of that: nobody "
           "is charged or suspect"}});
  }
  // Also one that is not held any more, or was claimed while a restart is not over.
  finding.known =
      death.on_purpose() ||
      std::ranges::any_of(death.started(), [](const v1::Started& one) { return one.part() == v1::Started::CULPRIT; }) ||
      control_died(state, now, *token, finding.why, death.stack(), actions);
  // A session of the dead process may have said it itself: then its client goes with it.
  auto gone = state.processes.extract(process);
  judge_death(state, now, *token, gone.mapped(), std::move(finding), actions);
}

void on_lost(State& state, Now now, const ProcessToken& token, Process& process, const std::string& why,
             Actions& actions) {
  judge_death(state, now, token, process, {.why = why}, actions);
}

void on_found(State& state, Now now, const ProcessToken& token, Actions& actions) {
  acquit(state, token);
  const auto lost = state.lost.find(token);
  if (lost == state.lost.end()) return;
  // Had its process died, any of these might have done it: it did not.
  judge_lost(state, now, lost->second.suspects, {}, actions);
  state.lost.erase(lost);
}

}  // namespace weir::broker::core
