// Deaths: what a process held when it died, or was lost; who is charged for it, and who is suspect.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// What a report says of one delivery.
struct Said {
  const v1::Started* started{};
  int rank{};  ///< its place in the report
};

/// One delivery that the process held.
struct Held {
  Worker* worker{};
  std::uint64_t lease{};  ///< of the run
  LeaseRun* run{};
  std::uint32_t offset{};
  const v1::Started* said =
      nullptr;   ///< what the report says of it; nullptr: its handler had not begun, or ended before
  int rank = 0;  ///< and where in it

  [[nodiscard]] Place place() const { return {run->key.queue, run->key.segment, run->first + offset}; }
  [[nodiscard]] LeaseId lease_id(const State& state) const { return {state.incarnation, lease + offset}; }
  [[nodiscard]] v1::Suspicion suspicion() const { return run->record ? run->record->suspicion : v1::UNSUSPECTED; }
  [[nodiscard]] bool is(v1::Started::Part part) const { return said != nullptr && said->part() == part; }
  /// It was settled, and that was not heard: its worker said so in a HELLO, or its recorder does.
  [[nodiscard]] bool had_ended() const { return run->settled_by_worker || is(v1::Started::ENDED); }
  [[nodiscard]] bool had_begun() const { return said != nullptr || run->settled_by_worker; }
};

using Report = std::map<Place, Said>;

Report by_place(State& state, const v1::DeathReport& death) {
  Report report;
  for (const auto& one : death.started()) {
    const auto queue = state.queues_by_name.find(one.queue());
    if (queue == state.queues_by_name.end()) continue;
    // It may have ended, and come again: then it is at work.
    const auto rank = static_cast<int>(report.size());
    const auto [at, is_new] = report.try_emplace({queue->second->id, one.segment(), one.index()}, Said{&one, rank});
    if (!is_new && one.part() != v1::Started::ENDED) at->second.started = &one;
  }
  return report;
}

/// All that the process held and that can be its end's cause. Not what it claimed while a restart is not over: a
/// session that is yet to come back may hold it under a later lease.
std::vector<Held> all_held(State& state, Process& process, const Report& report) {
  std::vector<Held> all;
  for (auto& [shard, worker] : process.workers) {
    for (auto& [lease, run] : worker->leases) {
      if (!state.recovered && run.claimed != LeaseId{}) continue;
      for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
        Held& held = all.emplace_back(Held{worker.get(), lease, &run, i});
        const auto at = report.find(held.place());
        if (at == report.end()) continue;
        held.said = at->second.started;
        held.rank = at->second.rank;
      }
    }
  }
  return all;
}

/// Passes judgement on what a process held; what it does not speak of returns as it was.
class Verdict {
 public:
  Verdict(State& state, Now now, const v1::DeathReport* death, std::string why, Actions& actions)
      : state_(state), now_(now), death_(death), why_(std::move(why)), actions_(actions) {}

  /// Its parent says that it is the cause.
  void culprit(const Held& held) { pay(held, attempt_of(held, why_)); }

  /// The process was ended by nobody knows which of these. Those that had begun are suspect, what ended last first.
  void unknown_cause(const std::vector<Held>& all) {
    std::vector<const Held*> begun;
    std::vector<const Held*> on_cpu;
    std::vector<const Held*> tried;
    for (const Held& held : all) {
      if (!held.had_begun()) continue;
      begun.push_back(&held);
      if (held.is(v1::Started::ON_CPU)) on_cpu.push_back(&held);
      if (held.suspicion() != v1::UNSUSPECTED) tried.push_back(&held);
    }
    for (const Held* held : tried) {
      const bool only = on_cpu.empty() ? held->suspicion() == v1::ALONE && begun.size() == 1
                                       : on_cpu.size() == 1 && on_cpu[0] == held;
      if (!only) continue;
      tried_and_died(*held, why_ + " while it was tried, and nothing else was on the CPU");
      for (const Held* other : begun) {
        if (other != held) suspect(*other, v1::UNSUSPECTED);
      }
      return;
    }
    std::ranges::stable_sort(begun, {}, [](const Held* held) { return held->rank; });
    for (const Held* held : begun) suspect(*held, next(*held, tried.size(), held->is(v1::Started::ON_CPU)));
    tell_suspects(begun);
  }

  /// Nobody can say what it was at. Returns what is suspect since.
  std::set<Place> lost(const std::vector<Held>& all) {
    std::set<Place> fresh;
    const auto tried = static_cast<std::size_t>(
        std::ranges::count_if(all, [](const Held& held) { return held.suspicion() != v1::UNSUSPECTED; }));
    if (tried == 1 && all.size() == 1 && all.front().suspicion() == v1::ALONE) {
      tried_and_died(all.front(), why_ + " while it was tried alone");
      return fresh;
    }
    std::vector<const Held*> suspects;
    for (const Held& held : all) {
      suspects.push_back(&held);
      if (held.suspicion() != v1::UNSUSPECTED) {
        suspect(held, next(held, tried, false));
      } else {
        fresh.insert(held.place());
        suspect(held, v1::WAS_STARTED);
      }
    }
    tell_suspects(suspects);
    return fresh;
  }

 private:
  /// How it is tried next, `tried` suspects having been tried in the process.
  static v1::Suspicion next(const Held& held, std::size_t tried, bool on_cpu) {
    if (tried == 0 || (held.suspicion() == v1::UNSUSPECTED && !on_cpu)) {
      return on_cpu ? v1::WAS_ON_CPU : held.had_ended() ? v1::HAD_ENDED : v1::WAS_STARTED;
    }
    if (on_cpu || tried == 1) return v1::ALONE;
    return std::max(held.suspicion(), v1::WAS_ON_CPU);  // of several: one by one
  }

  /// Ready again at once, uncharged, and to be tried as `suspicion` says.
  void suspect(const Held& held, v1::Suspicion suspicion) {
    if (held.suspicion() == suspicion) return;
    LeaseRun& run = *held.run;
    const SegmentKey key = run.key;
    Queue& queue = *state_.find_queue(key.queue);
    // One after the other: in this order they are tried.
    const std::int64_t at = state_.clock_us(now_.instant) - suspects_most_ + std::min(suspects_++, suspects_most_);
    std::optional<RecordHead> head;
    if (may_wait_in_memory(state_, now_, queue, at, DueBy::broker)) {
      head = head_of(state_, run, held.offset, run.attempt - 1, at, held.lease_id(state_));
      head->suspicion = suspicion;
    }
    auto& moved = move_message(state_, queue, key, run.first + held.offset, run.source, false, at, run.attempt - 1,
                               held.lease_id(state_), std::nullopt, suspicion);
    moved.head = std::move(head);
    run.open.clear(held.offset);
  }

  void tried_and_died(const Held& held, const std::string& error) {
    Accused accused{held.place(), held.lease_id(state_), {}, held.worker->token, attempt_of(held, error)};
    const auto trial = held.worker->trials.find(held.lease);
    if (trial != held.worker->trials.end()) accused.trial = now_.instant - trial->second.since;
    if (accused.attempt.started_at_us() == 0) {
      accused.attempt.set_started_at_us(micros(now_.wall) - accused.trial.count());
      accused.attempt.set_duration_us(static_cast<std::uint64_t>(accused.trial.count()));
    }
    const std::string& group = held.worker->group;
    const bool is_last = held.run->attempt >= state_.find_queue(held.run->key.queue)->policy.attempts;
    if (may_charge(state_, now_, group, accused, is_last)) return pay(held, std::move(accused.attempt));
    suspect(held, v1::ALONE);
    accuse(state_, now_, group, std::move(accused));
  }

  [[nodiscard]] v1::Attempt attempt_of(const Held& held, const std::string& error) const {
    v1::Attempt attempt;
    if (held.said != nullptr) attempt = held.said->attempt();
    if (attempt.error().empty()) attempt.set_error(error);
    attempt.set_worker(print_worker(*held.worker));
    if (death_ != nullptr && attempt.stack().empty()) attempt.set_stack(death_->stack());
    if (death_ != nullptr && attempt.log().empty()) *attempt.mutable_log() = death_->log();
    return attempt;
  }

  void pay(const Held& held, v1::Attempt attempt) {
    LeaseRun& run = *held.run;
    charge(state_, now_,
           {.key = run.key,
            .index = run.first + held.offset,
            .source = run.source,
            .bytes = Bytes{bytes_of(state_, run, held.offset, held.offset + 1)},
            .number = run.attempt,
            .lease = held.lease_id(state_),
            .suspicion = held.suspicion()},
           std::move(attempt), actions_);
    run.open.clear(held.offset);
  }

  /// One line, however many they are.
  void tell_suspects(const std::vector<const Held*>& suspects) {
    if (suspects.empty()) return;
    constexpr std::size_t told_most = 10;
    std::string names;
    for (std::size_t i = 0; i < suspects.size() && i < told_most; ++i) {
      const Place place = suspects[i]->place();
      names += (i > 0 ? " " : "") + print_id(state_.find_queue(place.queue)->name, place.segment, place.index);
    }
    if (suspects.size() > told_most) names += " …";
    note(actions_, Note::Level::warning, "suspects",
         {{"worker", print_worker(*suspects.front()->worker)},
          {"why", why_},
          {"messages", std::to_string(suspects.size())},
          {"tried_first", names}});
  }

  static constexpr std::int64_t suspects_most_ = 30'000;  ///< due times that differ, half a bucket of them at most

  State& state_;
  Now now_;
  const v1::DeathReport* death_;  ///< nullptr: nobody reports
  std::string why_;
  Actions& actions_;
  std::int64_t suspects_ = 0;
};

}  // namespace

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
  const std::string why = death.signal() != 0 ? "its process was ended by signal " + std::to_string(death.signal())
                                              : "its process exited with " + std::to_string(death.exit_code());
  std::vector<Held> all;
  if (process->second.of_two_stores) {
    note(actions, Note::Level::warning, "death_is_not_judged",
         {{"why", why},
          {"doing",
           "its process had messages of another store too, and the places that it names may be of that: nobody "
           "is charged or suspect"}});
  } else {
    all = all_held(state, process->second, by_place(state, death));
  }
  Verdict verdict(state, now, &death, why, actions);
  for (const Held& held : all) {
    if (held.is(v1::Started::CULPRIT)) verdict.culprit(held);
  }
  // Also one that is not held any more, or was claimed while a restart is not over.
  const bool known = death.on_purpose() || std::ranges::any_of(death.started(), [](const v1::Started& one) {
                       return one.part() == v1::Started::CULPRIT;
                     });
  if (!known && !control_died(state, now, *token, why, death.stack(), actions)) verdict.unknown_cause(all);
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
  std::set<Place> fresh = Verdict(state, now, nullptr, why, actions).lost(all_held(state, process, {}));
  if (!fresh.empty()) state.lost[token] = {now.instant, std::move(fresh)};
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
