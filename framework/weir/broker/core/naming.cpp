// The leases that a worker names in its HELLO, compared with those that it has: which stay its own, and which return.
#include <optional>
#include <utility>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// An answer of a WELCOME that covers `count` messages of `wanted` from its message `done` on.
v1::ClaimAnswer* answer_claim(v1::Welcome& welcome, const v1::Claim& wanted, std::uint32_t done, std::uint32_t count) {
  auto* one = welcome.add_claims();
  one->set_queue(wanted.queue());
  one->set_segment(wanted.segment());
  one->set_first(wanted.first() + done);
  one->set_count(count);
  return one;
}

/// The estimated costs, in nanoseconds: to look up one claimed message in the store, to keep a run, to look at a lease.
constexpr std::int64_t claim_ns = 1'500;
constexpr std::int64_t keep_ns = 300;
constexpr std::int64_t lease_ns = 100;

/// Compares the leases that a worker names in its HELLO with those that it has: those that are named stay its own, the
/// rest returns. Until that is done the worker has no connection, so that nothing is delivered to it.
class Naming final : public Work {
 public:
  Naming(Connection of, Worker& worker, v1::Hello first, std::vector<std::string> parts, SpeaksOf what)
      : of_(of),
        token_(worker.token),
        shard_(worker.shard),
        hello_(std::move(first)),
        parts_(std::move(parts)),
        of_this_store_(what == SpeaksOf::this_store) {
    worker.naming = of;
    welcome().set_store_is_older(what == SpeaksOf::later_store);
  }

  bool go_on(Turn& turn) override {
    Worker* const worker = turn.state.find_worker(token_, shard_);
    Client* const client = turn.state.find_client(of_);
    // The worker was lost meanwhile, or says HELLO on another connection.
    if (worker == nullptr || client == nullptr || worker->naming != of_) return true;
    if (stage_ == Stage::looking && look(turn.state, *worker)) stage_ = Stage::held;
    if (stage_ == Stage::held && name_all(turn, *worker, false)) stage_ = Stage::settled;
    if (stage_ == Stage::settled && name_all(turn, *worker, true)) stage_ = Stage::returning;
    if (stage_ != Stage::returning || !return_unnamed(turn.state, *worker)) return false;
    worker->naming = 0;
    welcome_worker(turn, *client, *worker, std::move(welcome_));
    return true;
  }

 private:
  enum class Stage { looking, held, settled, returning };

  /// False: the effort is spent.
  bool look(State& state, Worker& worker) {
    // RULE: lost_connection_keeps_its_leases
    if (granted_from_ == 0) {
      granted_from_ = state.next_lease;
      // Nothing is held until it is named. This is not sliced: another worker's claim may end one of these leases
      // meanwhile, and what is counted must be what is marked.
      for (auto& [lease, run] : worker.leases) run.settled_by_worker = true;
      worker.outstanding = {};
      worker.borrowed = {};
      for (auto& one : worker.attached) one.outstanding = one.borrowed = {};
    }
    for (auto at = worker.leases.lower_bound(looked_at_); at != worker.leases.end(); ++at) {
      looked_at_ = at->first;
      if (state.effort.spent()) return false;
      state.effort.spend(lease_ns);
      const LeaseRun& run = at->second;
      if (run.claimed != LeaseId{}) reclaimed_[run.claimed] = {at->first, run.count};
    }
    return true;
  }

  /// Goes through all claims of one kind, in the order of the parts. False: the effort is spent.
  bool name_all(Turn& turn, Worker& worker, bool settled) {
    for (;;) {
      const auto& claims = settled ? part().settled() : part().held();
      for (; claim_ < claims.size(); ++claim_, done_ = 0) {
        const v1::Claim& wanted = claims.Get(claim_);
        while (done_ < wanted.count()) {
          if (turn.state.effort.spent()) return false;
          done_ += name(turn, worker, wanted, settled);
        }
      }
      claim_ = 0;
      if (part_ == parts_.size()) break;
      ++part_;
      parse();
      turn.state.effort.spend(static_cast<std::int64_t>(parts_[part_ - 1].size()) * 10);
    }
    part_ = 0;
    return true;
  }

  [[nodiscard]] const v1::Hello& part() const { return part_ == 0 ? hello_ : parsed_; }
  void parse() { parsed_.ParseFromString(parts_[part_ - 1]); }

  /// Answers for some of the messages from `done_` on; returns how many.
  std::uint32_t name(Turn& turn, Worker& worker, const v1::Claim& wanted, bool settled) {
    if (!of_this_store_) {
      answer_claim(welcome(), wanted, done_, wanted.count() - done_)->set_stale(true);
      turn.state.effort.spend(lease_ns);
      return wanted.count() - done_;
    }
    const LeaseId id{wanted.incarnation(), wanted.lease() + done_};
    if (!was_granted(turn.state, wanted)) {
      answer_claim(welcome(), wanted, done_, 1)->set_stale(true);
      turn.state.effort.spend(lease_ns);
      return 1;
    }
    if (id.incarnation == turn.state.incarnation) return keep(turn.state, worker, wanted, id.counter, settled);
    // It was claimed before, in a session whose WELCOME was lost on the way.
    if (const auto lease = reclaimed(id)) return keep(turn.state, worker, wanted, *lease, settled);
    v1::Claim one = wanted;
    one.set_first(wanted.first() + done_);
    one.set_lease(id.counter);
    if (wanted.origin_incarnation() != 0) one.set_origin_lease(wanted.origin_lease() + done_);
    one.set_count(run_of_unclaimed(wanted));
    turn.state.effort.spend(one.count() * claim_ns);
    const std::uint64_t before = turn.state.next_lease;
    claim(turn, worker, one, settled, welcome());
    for (auto at = worker.leases.lower_bound(before); !settled && at != worker.leases.end(); ++at) {
      hold(turn.state, worker, at->second, at->second.open);
    }
    return one.count();
  }

  [[nodiscard]] std::optional<std::uint64_t> reclaimed(LeaseId id) const {
    auto at = reclaimed_.upper_bound(id);
    if (at == reclaimed_.begin()) return std::nullopt;
    --at;
    if (at->first.incarnation != id.incarnation || id.counter - at->first.counter >= at->second.count) {
      return std::nullopt;
    }
    return at->second.lease + (id.counter - at->first.counter);
  }

  /// A broker cannot have granted a lease of a later start, or one of this start that is still to be given. A message
  /// cannot have been delivered first under a later lease than the one that is claimed.
  [[nodiscard]] bool was_granted(const State& state, const v1::Claim& wanted) const {
    const LeaseId id{wanted.incarnation(), wanted.lease() + done_};
    const LeaseId origin{wanted.origin_incarnation(), wanted.origin_lease() + done_};
    return id < LeaseId{state.incarnation, granted_from_} && id.counter > 0 && id.incarnation > 0 &&
           (origin.incarnation == 0 || origin <= id);
  }

  /// How many messages from `done_` on were not claimed before, so that they are one claim.
  std::uint32_t run_of_unclaimed(const v1::Claim& wanted) const {
    std::uint32_t n = 1;
    while (done_ + n < wanted.count() && n < protocol::segment_messages_most &&
           !reclaimed({wanted.incarnation(), wanted.lease() + done_ + n})) {
      ++n;
    }
    return n;
  }

  /// Keeps what is open from `lease` on; returns how many messages it has answered for.
  std::uint32_t keep(State& state, Worker& worker, const v1::Claim& wanted, std::uint64_t lease, bool settled) {
    state.effort.spend(keep_ns);
    const auto after = worker.leases.upper_bound(lease);
    if (after != worker.leases.begin()) {
      const auto at = std::prev(after);
      LeaseRun& run = at->second;
      const auto offset = static_cast<std::uint32_t>(lease - at->first);
      if (lease - at->first < run.count && run.open.test(offset) && run.key.queue == wanted.queue() &&
          run.key.segment == wanted.segment() && run.first + offset == wanted.first() + done_) {
        const std::uint32_t n =
            std::min({run.open.next_clear(offset), run.count, offset + wanted.count() - done_}) - offset;
        name_kept(lease, n);
        if (!settled && run.settled_by_worker) {
          run.settled_by_worker = false;
          hold(state, worker, run, run.open);
        }
        answer_claim(welcome(), wanted, done_, n)->set_lease(lease);
        return n;
      }
    }
    // This settlement was applied already, and is perhaps not committed. Sent again, it is answered after its commit.
    if (settled) {
      answer_claim(welcome(), wanted, done_, 1)->set_lease(lease);
    } else {
      answer_claim(welcome(), wanted, done_, 1)->set_stale(true);
    }
    return 1;
  }

  void name_kept(std::uint64_t first, std::uint64_t count) {
    auto at = named_.upper_bound(first);
    if (at != named_.begin() && first - std::prev(at)->first <= std::prev(at)->second) {
      --at;
      count = std::max(at->second, first + count - at->first);
      first = at->first;
      at = std::next(at);
    }
    while (at != named_.end() && at->first <= first + count) {
      count = std::max(count, at->first + at->second - first);
      at = named_.erase(at);
    }
    named_[first] = count;
  }
  [[nodiscard]] bool is_named(std::uint64_t lease) const {
    const auto after = named_.upper_bound(lease);
    return after != named_.begin() && lease - std::prev(after)->first < std::prev(after)->second;
  }

  /// Returns what was on its way and was lost with the connection. It was never seen: ready at once, not counted.
  bool return_unnamed(State& state, Worker& worker) {
    for (auto at = worker.leases.lower_bound(returned_up_to_);
         at != worker.leases.end() && at->first < granted_from_;) {
      returned_up_to_ = at->first;
      if (state.effort.spent()) return false;
      state.effort.spend(keep_ns);
      LeaseRun& run = at->second;
      LeaseRun rest;
      rest.key = run.key;
      rest.first = run.first;
      rest.count = run.count;
      rest.attempt = run.attempt;
      rest.source = run.source;
      for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
        if (is_named(at->first + i)) continue;
        rest.open.set(i);
        run.open.clear(i);
      }
      if (rest.open.next_set(0) < rest.count) {
        if (!run.settled_by_worker) let_go(state, worker, run, rest.open);
        rest.record = std::move(run.record);
        if (Queue* queue = state.find_queue(run.key.queue)) give_back(state, *queue, rest);
      }
      at = run.finished() ? worker.leases.erase(at) : std::next(at);
    }
    return true;
  }

  static Load load_of(State& state, const LeaseRun& run, const Bits& of) {
    Load load{Messages{of.count()}, Bytes{}};
    if (run.source == Source::record) {
      load.bytes = run.record->bytes;
      return load;
    }
    for (std::uint32_t i = of.next_set(0); i < run.count; i = of.next_set(i + 1)) {
      load.bytes += Bytes{bytes_of(state, run, i, i + 1)};
    }
    return load;
  }
  /// Put messages into the worker's window, and take them out. The leases decide, so a lost frame cannot leak credit.
  static void hold(State& state, Worker& worker, const LeaseRun& run, const Bits& of) {
    const Load load = load_of(state, run, of);
    worker.outstanding += load;
    if (Attached* one = worker.attachment(state.find_queue(run.key.queue))) one->outstanding += load.messages;
  }
  static void let_go(State& state, Worker& worker, const LeaseRun& run, const Bits& of) {
    worker.let_go(worker.attachment(state.find_queue(run.key.queue)), load_of(state, run, of));
  }

  v1::Welcome& welcome() { return *welcome_.mutable_welcome(); }

  Connection of_{};
  ProcessToken token_;
  std::uint32_t shard_{};
  v1::Hello hello_;
  std::vector<std::string> parts_;
  bool of_this_store_ = true;  ///< else all that it names is stale
  v1::Hello parsed_;           ///< parts_[part_ - 1]
  v1::Frame welcome_;
  Stage stage_ = Stage::looking;
  std::uint64_t looked_at_{};
  std::size_t part_ = 0;  ///< 0: the first
  int claim_ = 0;
  std::uint32_t done_ = 0;        ///< of the claim's messages
  std::uint64_t granted_from_{};  ///< leases from here on were granted by this HELLO's claims
  std::uint64_t returned_up_to_{};
  struct Granted {
    std::uint64_t lease{};
    std::uint32_t count{};
  };
  std::map<LeaseId, Granted> reclaimed_;  ///< by the first lease claimed: the lease granted for it
  /// What is still the worker's: the first lease of a range, and how many. (Compaction may cut the runs meanwhile.)
  std::map<std::uint64_t, std::uint64_t> named_;
};

}  // namespace

void name_leases(Turn& turn, Client& client, Worker& worker, Named named) {
  auto naming = std::make_unique<Naming>(client.connection, worker, std::move(named.first), std::move(named.parts),
                                         named.speaks_of);
  if (!naming->go_on(turn)) begin_work(turn.state, client, std::move(naming));
}

}  // namespace weir::broker::core
