// Deaths: what a process held when it died, or was lost; who is charged for it, and who is suspect.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// One delivery that the process held.
struct Held {
  Worker* worker{};
  std::uint64_t lease{};  ///< of the run
  LeaseRun* run{};
  std::uint32_t offset{};
  const v1::Started* started{};  ///< what the report says of it; nothing: its handler had not started

  [[nodiscard]] Place place() const { return {run->key.queue, run->key.segment, run->first + offset}; }
  [[nodiscard]] v1::Suspicion suspicion() const { return run->record ? run->record->suspicion : v1::UNSUSPECTED; }
  [[nodiscard]] bool is(v1::Started::Part part) const { return started != nullptr && started->part() == part; }
};

using Report = std::map<Place, const v1::Started*>;

Report by_place(State& state, const v1::DeathReport& death) {
  Report report;
  for (const auto& one : death.started()) {
    const auto queue = state.queues_by_name.find(one.queue());
    if (queue != state.queues_by_name.end()) report[{queue->second->id, one.segment(), one.index()}] = &one;
  }
  return report;
}

/// All that the process held and that can be its end's cause. Not what its handlers were done with; and not what it
/// claimed while a restart is not over: a session that is yet to come back may hold it under a later lease.
std::vector<Held> all_held(State& state, Process& process, const Report& report) {
  std::vector<Held> all;
  for (auto& [shard, worker] : process.workers) {
    for (auto& [lease, run] : worker->leases) {
      if (run.settled_by_worker || (!state.recovered && run.claimed != LeaseId{})) continue;
      for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
        Held& held = all.emplace_back(Held{worker.get(), lease, &run, i, nullptr});
        if (const auto at = report.find(held.place()); at != report.end()) held.started = at->second;
      }
    }
  }
  return all;
}

/// Passes judgement on what a process held; what it does not speak of returns as it was.
class Verdict {
 public:
  Verdict(State& state, Now now, std::string why, Actions& actions)
      : state_(state), now_(now), why_(std::move(why)), actions_(actions) {}

  /// One attempt is counted: due again after the backoff, or a dead letter. A suspect stays one until it settles.
  void charge(const Held& held, const std::string& error) {
    LeaseRun& run = *held.run;
    Queue& queue = *state_.find_queue(run.key.queue);
    const bool dead = run.attempt >= queue.policy.attempts;
    std::int64_t at = state_.clock_us(now_.instant);
    if (dead) {
      queue.live -= Load{Messages{1}, Bytes{bytes_of(state_, run, held.offset, held.offset + 1)}};
      queue.state.set_dead_lettered(queue.state.dead_lettered() + 1);
    } else {
      at += pause_after(queue.policy.backoff, run.attempt, state_.uniform()).count();
      queue.state.set_retried(queue.state.retried() + 1);
    }
    v1::Attempt attempt;
    if (held.started != nullptr) attempt = held.started->attempt();
    if (attempt.error().empty()) attempt.set_error(error);
    attempt.set_number(run.attempt);
    attempt.set_worker(print_worker(*held.worker));
    bound(attempt);
    note(actions_, Note::Level::warning, "delivery_charged",
         {{"queue", queue.name},
          {"message", print_id(queue.name, run.key.segment, run.first + held.offset)},
          {"worker", attempt.worker()},
          {"attempt", std::to_string(run.attempt)},
          {"dead", dead ? "true" : "false"},
          {"why", attempt.error()}});
    move(held, dead, at, run.attempt, Attempted(std::move(attempt)), held.suspicion());
  }

  /// Ready again at once, uncharged, and to be tried as `suspicion` says.
  void suspect(const Held& held, v1::Suspicion suspicion) {
    if (held.suspicion() == suspicion) return;
    move(held, false, state_.clock_us(now_.instant), held.run->attempt - 1, std::nullopt, suspicion);
  }

  /// The process was ended by nobody knows which of these.
  void unknown_cause(const std::vector<Held>& all) {
    std::vector<const Held*> started;
    std::vector<const Held*> on_cpu;
    std::vector<const Held*> tried;
    for (const Held& held : all) {
      if (held.started == nullptr) continue;
      started.push_back(&held);
      if (held.is(v1::Started::ON_CPU)) on_cpu.push_back(&held);
      if (held.suspicion() != v1::UNSUSPECTED) tried.push_back(&held);
    }
    for (const Held* held : tried) {
      const bool only = on_cpu.empty() ? held->suspicion() == v1::ALONE : on_cpu.size() == 1 && on_cpu[0] == held;
      if (!only) continue;
      charge(*held, why_ + " while it was tried, and nothing else was on the CPU");
      for (const Held* other : started) {
        if (other != held) suspect(*other, v1::UNSUSPECTED);
      }
      return;
    }
    for (const Held* held : started) {
      if (!tried.empty() && held->suspicion() == v1::UNSUSPECTED && !held->is(v1::Started::ON_CPU)) continue;
      suspect(*held, next(*held, tried.size(), held->is(v1::Started::ON_CPU)));
    }
  }

  /// Nobody can say what it was at. Returns what is suspect since.
  std::set<Place> lost(const std::vector<Held>& all) {
    std::set<Place> fresh;
    const auto tried = static_cast<std::size_t>(
        std::ranges::count_if(all, [](const Held& held) { return held.suspicion() != v1::UNSUSPECTED; }));
    if (tried == 1 && all.size() == 1 && all.front().suspicion() == v1::ALONE) {
      charge(all.front(), why_ + " while it was tried alone");
      return fresh;
    }
    for (const Held& held : all) {
      if (held.suspicion() != v1::UNSUSPECTED) {
        suspect(held, next(held, tried, false));
      } else {
        fresh.insert(held.place());
        suspect(held, v1::WAS_STARTED);
      }
    }
    return fresh;
  }

 private:
  /// How it is tried next, `tried` suspects having been tried in the process.
  static v1::Suspicion next(const Held& held, std::size_t tried, bool on_cpu) {
    if (tried == 0) return on_cpu ? v1::WAS_ON_CPU : v1::WAS_STARTED;
    if (on_cpu || tried == 1) return v1::ALONE;
    return std::max(held.suspicion(), v1::WAS_ON_CPU);  // of several: one by one
  }

  void move(const Held& held, bool dead, std::int64_t at, std::uint32_t attempts, std::optional<Attempted> attempt,
            v1::Suspicion suspicion) {
    LeaseRun& run = *held.run;
    move_message(state_, *state_.find_queue(run.key.queue), run.key, run.first + held.offset, run.source, dead, at,
                 attempts, LeaseId{state_.incarnation, held.lease + held.offset}, std::move(attempt), suspicion);
    run.open.clear(held.offset);
  }

  State& state_;
  Now now_;
  std::string why_;
  Actions& actions_;
};

}  // namespace

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
  const std::string why = death.signal() != 0 ? "its process was ended by signal " + std::to_string(death.signal())
                                              : "its process exited with " + std::to_string(death.exit_code());
  const std::vector<Held> all = all_held(state, process->second, by_place(state, death));
  Verdict verdict(state, now, why, actions);
  bool known = death.on_purpose();
  for (const Held& held : all) {
    if (!held.is(v1::Started::CULPRIT)) continue;
    verdict.charge(held, why);
    known = true;
  }
  if (!known) verdict.unknown_cause(all);
  // A session of the dead process may have said it itself: then its client goes with it.
  const Connection reporter = client.connection;
  while (!process->second.workers.empty()) {
    end_worker(state, process->second, *process->second.workers.begin()->second, why, actions);
  }
  state.processes.erase(process);
  state.gathering.buried.push_back(reporter);
}

void on_lost(State& state, Now now, const ProcessToken& token, Process& process, const std::string& why,
             Actions& actions) {
  std::set<Place> fresh = Verdict(state, now, why, actions).lost(all_held(state, process, {}));
  if (!fresh.empty()) state.lost[token] = {now.instant, std::move(fresh)};
}

void on_found(State& state, Now now, const ProcessToken& token, Actions& actions) {
  const auto lost = state.lost.find(token);
  if (lost == state.lost.end()) return;
  // Had its process died, any of these might have done it: it did not.
  judge_lost(state, now, lost->second.suspects, {}, actions);
  state.lost.erase(lost);
}

}  // namespace weir::broker::core
