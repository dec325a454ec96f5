// Deaths: reports that a process died, was lost, or lives again; and what a message pays for a death.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
void charge(Turn& turn, const Charge& charge, v1::Attempt attempt) {
  Queue& queue = *turn.state.find_queue(charge.key.queue);
  const bool dead = charge.number >= queue.policy.attempts;
  std::int64_t at = turn.state.clock_us(turn.now.instant);
  if (dead) {
    queue.live -= Load{Messages{1}, charge.bytes};
    queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
  } else {
    at += pause_after(queue.policy.backoff, charge.number, turn.state.uniform()).count();
    queue.state.set_retried(queue.state.retried() + 1);
  }
  attempt.set_number(charge.number);
  bound(attempt);
  note(turn.actions, Note::Level::warning, "delivery_charged",
       {{"queue", queue.name},
        {"message", print_id(queue.name, charge.key.segment, charge.index)},
        {"worker", attempt.worker()},
        {"attempt", std::to_string(charge.number)},
        {"dead", dead ? "true" : "false"},
        {"why", attempt.error()}});
  move_message(turn.state, queue,
               {.place = {charge.key.queue, charge.key.segment, charge.index},
                .lane = charge.key.lane,
                .source = charge.source,
                .dead = dead,
                .at_us = at,
                .attempts = charge.number,
                .lease = charge.lease,
                .attempt = Attempted(std::move(attempt)),
                .suspicion = charge.suspicion});
}

void on_death(Turn& turn, const Client& client, const v1::DeathReport& death) {
  const auto token = ProcessToken::from(death.process_token());
  const auto process = token ? turn.state.processes.find(*token) : turn.state.processes.end();
  if (process == turn.state.processes.end()) {
    if (token && on_late_death(turn, *token, death)) {
      turn.state.gathering.buried.push_back(client.connection);
      return;
    }
    // RULE: report_needs_the_token
    refuse(turn.state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "death report: no session of this broker bears this process token", false, turn.actions);
    return;
  }
  Finding finding{.why = death.signal() != 0 ? "its process was ended by signal " + std::to_string(death.signal())
                                             : "its process exited with " + std::to_string(death.exit_code()),
                  .report = &death,
                  .reporter = client.connection,
                  .blind = process->second.of_two_stores};
  if (finding.blind) {
    // RULE: no_judgement_over_two_stores
    note(turn.actions, Note::Level::warning, "death_is_not_judged",
         {{"why", finding.why},
          {"doing",
           "its process had messages of another store too, and the places that it names may be of that: nobody "
           "is charged or suspect"}});
  }
  // The culprit counts also if it is not held any more, or was claimed while a restart is not over.
  // RULE: kill_on_purpose_makes_no_suspects
  finding.known =
      death.on_purpose() ||
      std::ranges::any_of(death.started(), [](const v1::Started& one) { return one.part() == v1::Started::CULPRIT; }) ||
      control_died(turn, *token, finding.why, death.stack());
  // A session of the dead process may have sent the report itself: then its client ends with it.
  auto gone = turn.state.processes.extract(process);
  judge_death(turn, *token, gone.mapped(), std::move(finding));
}

void on_lost(Turn& turn, const ProcessToken& token, Process& process, const std::string& why) {
  judge_death(turn, token, process, {.why = why});
}

void on_found(Turn& turn, const ProcessToken& token) {
  acquit(turn.state, token);
  const auto lost = turn.state.lost.find(token);
  if (lost == turn.state.lost.end()) return;
  // If its process had died, any of these might have been the cause. It has not died.
  judge_lost(turn, lost->second.suspects, {});
  turn.state.lost.erase(lost);
}

}  // namespace weir::broker::core
