// Judging: which messages are charged or suspect, of those that a process held when it died or was lost. A process may
// have held tens of thousands of messages, all of them begun, so judging goes on in later turns.
#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <limits>
#include <utility>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// A session that has ended, and what it held.
struct Gone {
  std::string name;  ///< as it is printed
  std::string group;
  std::map<std::uint64_t, Worker::Trial> trials;
  Leases leases;
};

constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

/// One delivery that the process held.
struct Held {
  const Gone* of{};
  std::uint64_t lease{};  ///< of the run
  LeaseRun* run{};
  std::uint32_t offset{};
  std::optional<v1::Started::Part> part{};  ///< as the report says; nothing: its handler had not begun, or ended before
  std::size_t attempt = none;               ///< its index in attempts_, if the report gives one

  [[nodiscard]] Place place() const { return {run->key.queue, run->key.segment, run->first + offset}; }
  [[nodiscard]] LeaseId lease_id(const State& state) const { return {state.incarnation, lease + offset}; }
  [[nodiscard]] v1::Suspicion suspicion() const { return run->record ? run->record->suspicion : v1::UNSUSPECTED; }
  [[nodiscard]] bool is(v1::Started::Part wanted) const { return part == wanted; }
  /// True if it was settled and the broker did not hear it: its worker said so in a HELLO, or its recorder does.
  [[nodiscard]] bool had_ended() const { return run->settled_by_worker || is(v1::Started::ENDED); }
  [[nodiscard]] bool had_begun() const { return part || run->settled_by_worker; }
};

/// The costs of looking at a delivery, and of moving it, in nanoseconds.
constexpr std::int64_t look_ns = 150;
constexpr std::int64_t move_ns = 700;

/// Judges what a process held. Messages that it neither charges nor makes suspect return as they were.
class Judging final : public Work {
 public:
  /// Ends the sessions of the process, which was taken out of the state.
  Judging(Turn& turn, const ProcessToken& token, Process& process, Finding finding)
      : token_(token),
        died_at_(turn.now.instant),
        age_(std::min(turn.now.instant - process.since, age_most)),
        finding_(std::move(finding)),
        is_told_(finding_.report != nullptr) {
    // Its group serves the same queues: whether there are others is seen at any of them.
    const Queue* queue = nullptr;
    while (!process.workers.empty()) {
      Worker& worker = *process.workers.begin()->second;
      if (!worker.attached.empty()) queue = worker.attached.front().queue;
      sessions_.push_back(
          {print_worker(worker), worker.group, std::move(worker.trials), std::exchange(worker.leases, {})});
      end_worker(turn.state, process, worker, finding_.why, turn.actions);
    }
    // A lost process has no parent that starts it again, or is killed and reported later.
    const bool is_started_again = finding_.report != nullptr && !finding_.report->on_purpose();
    if (is_started_again && queue != nullptr) await_another(turn.state, turn.now, *queue, sessions_.back().group);
    if (finding_.report != nullptr) read(turn.state, *std::exchange(finding_.report, nullptr));
  }

  bool go_on(Turn& turn) override {
    if (stage_ == Stage::looking && look(turn.state)) {
      choose(turn);
      stage_ = Stage::judging;
    }
    if (stage_ == Stage::looking || !judge(turn)) return false;
    for (Gone& gone : sessions_) {
      if (!gone.leases.empty()) turn.state.gathering.returning.push_back(std::move(gone.leases));
    }
    if (finding_.reporter != 0) turn.state.gathering.buried.push_back(finding_.reporter);
    if (!fresh_.empty()) {
      turn.state.lost[token_] = {died_at_, std::move(fresh_)};
      if (turn.state.processes.contains(token_)) on_found(turn, token_);  // it came back meanwhile
    }
    return true;
  }

 private:
  enum class Stage { looking, judging };
  struct Said {
    v1::Started::Part part{};
    std::size_t attempt = none;
    std::size_t rank{};  ///< its place in the report
  };

  /// Copies what it needs of the report: the frame goes with this turn.
  void read(State& state, const v1::DeathReport& report) {
    stack_ = report.stack();
    log_ = {report.log().begin(), report.log().end()};
    said_.reserve(static_cast<std::size_t>(report.started_size()));
    const Queue* queue = nullptr;
    for (const auto& one : report.started()) {
      if (queue == nullptr || queue->name != one.queue()) {  // mostly the same queue
        const auto found = state.queues_by_name.find(one.queue());
        if (found == state.queues_by_name.end()) continue;
        queue = found->second;
      }
      const auto [at, is_new] =
          said_.try_emplace({queue->id, one.segment(), one.index()}, Said{one.part(), none, said_.size()});
      // The message may have ended, and come again: then it is at work.
      if (!is_new && one.part() == v1::Started::ENDED) continue;
      at->second.part = one.part();
      if (!one.has_attempt()) continue;
      at->second.attempt = attempts_.size();
      attempts_.push_back(one.attempt());
    }
    named_.resize(said_.size());
  }

  /// Looks at all that the process held and that can be the cause of its end. It leaves out what the process claimed
  /// while a restart is not over: a session that is yet to come back may hold that under a later lease. False: the
  /// effort is spent.
  bool look(State& state) {
    if (finding_.blind) return true;
    for (; session_ < sessions_.size(); ++session_, lease_ = 0) {
      auto& leases = sessions_[session_].leases;
      for (auto at = leases.lower_bound(lease_); at != leases.end(); ++at, offset_ = 0) {
        lease_ = at->first;
        LeaseRun& run = at->second;
        if (!state.recovered && run.claimed != LeaseId{}) continue;
        for (auto i = run.open.next_set(offset_); i < run.count; i = run.open.next_set(i + 1)) {
          offset_ = i;
          if (state.effort.spent()) return false;
          state.effort.spend(look_ns);
          look_at({&sessions_[session_], at->first, &run, i});
        }
      }
    }
    return true;
  }

  void look_at(Held held) {
    const auto at = said_.find(held.place());
    if (at != said_.end()) {
      held.part = at->second.part;
      held.attempt = at->second.attempt;
    }
    if (is_told_ && !held.had_begun()) return;
    if (held.is(v1::Started::ON_CPU)) ++on_cpu_;
    if (held.suspicion() != v1::UNSUSPECTED) tried_.push_back(held);
    ++begun_;
    if (at != said_.end()) {
      named_[at->second.rank] = held;
    } else {
      others_.push_back(held);
    }
  }

  [[nodiscard]] const Held* begun(std::size_t i) const {
    if (i < others_.size()) return &others_[i];
    const Held& held = named_[i - others_.size()];
    return held.run == nullptr ? nullptr : &held;
  }

  /// Finds out whether a message that was being tried is known to be the cause. Else all that had begun is suspect
  /// (what ended last is tried first), and the log is told.
  void choose(Turn& turn) {
    if (finding_.known) return;
    for (const Held& held : tried_) {
      const bool only = !is_told_ || on_cpu_ == 0 ? held.suspicion() == v1::ALONE && begun_ == 1
                                                  : on_cpu_ == 1 && held.is(v1::Started::ON_CPU);
      if (!only) continue;
      only_ = held;
      return;
    }
    tell_suspects(turn);
  }

  /// False: the effort is spent.
  bool judge(Turn& turn) {
    for (; judged_ < others_.size() + named_.size(); ++judged_) {
      const Held* held = begun(judged_);
      if (held == nullptr) continue;
      if (turn.state.effort.spent()) return false;
      turn.state.effort.spend(move_ns);
      if (finding_.known) {
        if (held->is(v1::Started::CULPRIT)) {
          pay(turn, *held, suspicion_of_culprit(turn.state, *held), attempt_of(*held, finding_.why));
        }
      } else if (only_) {
        const bool is_it = held->run == only_->run && held->offset == only_->offset;
        is_it ? tried_and_died(turn, *held) : suspect(turn, *held, v1::UNSUSPECTED);
      } else {
        if (!is_told_ && held->suspicion() == v1::UNSUSPECTED) fresh_.insert(held->place());
        suspect(turn, *held, next(*held));
      }
    }
    return true;
  }

  /// How a culprit is tried next: it may do it again, like those that were on the CPU. A dead letter is no suspect:
  /// what it did is known, and it is replayed once its plugin is mended.
  [[nodiscard]] static v1::Suspicion suspicion_of_culprit(State& state, const Held& held) {
    const bool is_last = held.run->attempt >= state.find_queue(held.run->key.queue)->policy.attempts;
    // RULE: culprit_is_tried
    return is_last ? v1::UNSUSPECTED : std::max(held.suspicion(), v1::WAS_ON_CPU);
  }

  /// How the message is tried next.
  [[nodiscard]] v1::Suspicion next(const Held& held) const {
    const bool on_cpu = held.is(v1::Started::ON_CPU);
    if (tried_.empty() || (held.suspicion() == v1::UNSUSPECTED && !on_cpu)) {
      if (!is_told_) return v1::WAS_STARTED;
      return on_cpu ? v1::WAS_ON_CPU : held.had_ended() ? v1::HAD_ENDED : v1::WAS_STARTED;
    }
    if (on_cpu || tried_.size() == 1) return v1::ALONE;
    return std::max(held.suspicion(), v1::WAS_ON_CPU);  // one of several: they are tried one by one
  }

  /// Makes the message ready again at once, uncharged, and to be tried as `suspicion` says.
  void suspect(Turn& turn, const Held& held, v1::Suspicion suspicion) {
    if (held.suspicion() == suspicion) return;
    LeaseRun& run = *held.run;
    Queue& queue = *turn.state.find_queue(run.key.queue);
    // Each is due 1 µs after the one before: they are tried in this order.
    const std::int64_t at = turn.state.clock_us(died_at_) - suspects_most_ + std::min(suspects_++, suspects_most_);
    std::optional<RecordHead> head;
    if (may_wait_in_memory(turn.state, turn.now, queue, at, DueBy::broker)) {
      head = head_of(turn.state, run, held.offset, run.attempt - 1, at, held.lease_id(turn.state));
      head->suspicion = suspicion;
    }
    auto& moved = move_message(turn.state, queue,
                               {.place = held.place(),
                                .lane = run.key.lane,
                                .source = run.source,
                                .at_us = at,
                                .attempts = run.attempt - 1,
                                .lease = held.lease_id(turn.state),
                                .attempt = {},
                                .suspicion = suspicion});
    moved.head = std::move(head);
    run.open.clear(held.offset);
  }

  void tried_and_died(Turn& turn, const Held& held) {
    const std::string how =
        is_told_ ? " while it was tried, and nothing else was on the CPU" : " while it was tried alone";
    Accused accused{held.place(), held.lease_id(turn.state),           {}, age_, died_at_,
                    token_,       attempt_of(held, finding_.why + how)};
    const auto trial = held.of->trials.find(held.lease);
    const Duration took = trial != held.of->trials.end() ? died_at_ - trial->second.since : Duration{};
    accused.trial = std::min(took, trial_most);
    if (accused.attempt.started_at_us() == 0) {
      accused.attempt.set_started_at_us(micros(turn.now.wall) - took.count());
      accused.attempt.set_duration_us(static_cast<std::uint64_t>(took.count()));
    }
    const bool is_last = held.run->attempt >= turn.state.find_queue(held.run->key.queue)->policy.attempts;
    // The death was not reported. If the message froze the process, its parent kills it three session timeouts after it
    // stopped. If the process was only held up, it comes back before that.
    if (!is_told_) accused.earliest = died_at_ + 2 * turn.state.config.session_timeout;
    if (is_told_ && may_charge(turn.state, turn.now, held.of->group, accused, is_last)) {
      return pay(turn, held, held.suspicion(), std::move(accused.attempt));
    }
    suspect(turn, held, v1::ALONE);
    accuse(turn.state, turn.now, held.of->group, std::move(accused));
  }

  [[nodiscard]] v1::Attempt attempt_of(const Held& held, const std::string& error) const {
    v1::Attempt attempt;
    if (held.attempt != none) attempt = attempts_[held.attempt];
    if (attempt.error().empty()) attempt.set_error(error);
    attempt.set_worker(held.of->name);
    if (attempt.stack().empty()) attempt.set_stack(stack_);
    if (attempt.log().empty()) *attempt.mutable_log() = {log_.begin(), log_.end()};
    return attempt;
  }

  void pay(Turn& turn, const Held& held, v1::Suspicion suspicion, v1::Attempt attempt) {
    LeaseRun& run = *held.run;
    charge(turn,
           {.key = run.key,
            .index = run.first + held.offset,
            .source = run.source,
            .bytes = Bytes{bytes_of(turn.state, run, held.offset, held.offset + 1)},
            .number = run.attempt,
            .lease = held.lease_id(turn.state),
            .suspicion = suspicion},
           std::move(attempt));
    run.open.clear(held.offset);
  }

  /// Writes one line, however many suspects there are.
  void tell_suspects(Turn& turn) {
    if (begun_ == 0) return;
    constexpr int told_most = 10;
    std::string names;
    int told = 0;
    const Gone* of = nullptr;
    for (std::size_t i = 0; i < others_.size() + named_.size() && told < told_most; ++i) {
      const Held* held = begun(i);
      if (held == nullptr) continue;
      const Place place = held->place();
      names += (told++ > 0 ? " " : "") + print_id(turn.state.find_queue(place.queue)->name, place.segment, place.index);
      if (of == nullptr) of = held->of;
    }
    if (begun_ > told_most) names += " …";
    note(turn.actions, Note::Level::warning, "suspects",
         {{"worker", of->name}, {"why", finding_.why}, {"messages", std::to_string(begun_)}, {"tried_first", names}});
  }

  static constexpr std::int64_t suspects_most_ = 30'000;  ///< due times that differ, 1 µs apart; under half a bucket

  ProcessToken token_;
  Instant died_at_;
  Duration age_;  ///< of the process
  Finding finding_;
  std::vector<Gone> sessions_;
  bool is_told_;  ///< there is a report; else any message that it held may be the cause
  boost::unordered_flat_map<Place, Said> said_;
  std::vector<v1::Attempt> attempts_;
  std::string stack_;
  std::vector<std::string> log_;

  Stage stage_ = Stage::looking;
  std::size_t session_ = 0;   ///< looking goes on in this session
  std::uint64_t lease_ = 0;   ///< looking goes on at this run
  std::uint32_t offset_ = 0;  ///< looking goes on from this message of the run

  // Messages that had begun. First come those that only their worker named (others_), then those that the report names
  // (named_), in its order.
  std::deque<Held> others_;
  std::vector<Held> named_;
  std::uint64_t begun_ = 0, on_cpu_ = 0;
  std::vector<Held> tried_;   ///< of these, those that were suspect already
  std::optional<Held> only_;  ///< it was being tried, and must be the cause

  std::size_t judged_ = 0;
  std::int64_t suspects_ = 0;
  std::set<Place> fresh_;  ///< messages that are suspect because the process was lost
};

}  // namespace

void judge_death(Turn& turn, const ProcessToken& token, Process& process, Finding finding) {
  auto judging = std::make_unique<Judging>(turn, token, process, std::move(finding));
  bool done = judging->go_on(turn);
  // While a restart is not over, a session may yet claim what the process held: then all is judged at once.
  for (; !done && !turn.state.recovered; done = judging->go_on(turn)) {
    turn.state.effort.refill(turn.state.config.effort_ns);
  }
  if (!done) turn.state.work.push_back(std::move(judging));
}

}  // namespace weir::broker::core
