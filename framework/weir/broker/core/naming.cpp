// What a worker names in its HELLO against what it has: which leases stay its own, which return.
#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// An answer of a WELCOME that covers `count` messages of `wanted` from its message `done` on.
v1::ClaimAnswer* answer(v1::Welcome& welcome, const v1::Claim& wanted, std::uint32_t done, std::uint32_t count) {
  auto* one = welcome.add_claims();
  one->set_queue(wanted.queue());
  one->set_segment(wanted.segment());
  one->set_first(wanted.first() + done);
  one->set_count(count);
  return one;
}

/// The leases that a worker names in its HELLO, against those that it has.
class Naming {
 public:
  Naming(State& state, Now now, Worker& worker, v1::Welcome& welcome, Actions& actions)
      : state_(state),
        now_(now),
        worker_(worker),
        welcome_(welcome),
        actions_(actions),
        granted_from_(state.next_lease) {
    for (auto& [lease, run] : worker_.leases) {
      run.settled_by_worker = true;  // until named as held
      for (std::uint32_t i = 0; run.claimed != LeaseId{} && i < run.count; ++i) {
        reclaimed_[{run.claimed.incarnation, run.claimed.counter + i}] = lease + i;
      }
    }
  }

  void name(const v1::Claim& wanted, bool settled) {
    for (std::uint32_t done = 0; done < wanted.count();) {
      const LeaseId id{wanted.incarnation(), wanted.lease() + done};
      if (!was_granted(wanted, done)) {
        answer(welcome_, wanted, done, 1)->set_stale(true);
        ++done;
      } else if (id.incarnation == state_.incarnation) {
        done += keep(wanted, done, id.counter, settled);
      } else if (const auto at = reclaimed_.find(id); at != reclaimed_.end()) {
        // Claimed before, in a session whose WELCOME was lost on the way.
        done += keep(wanted, done, at->second, settled);
      } else {
        v1::Claim one = wanted;
        one.set_first(wanted.first() + done);
        one.set_lease(id.counter);
        if (wanted.origin_incarnation() != 0) one.set_origin_lease(wanted.origin_lease() + done);
        one.set_count(run_of_unclaimed(wanted, done));
        claim(state_, now_, worker_, one, settled, welcome_, actions_);
        done += one.count();
      }
    }
  }

  /// What was on its way and was lost with the connection was never seen: ready at once, not counted.
  void return_unnamed() {
    for (auto at = worker_.leases.begin(); at != worker_.leases.end() && at->first < granted_from_;) {
      LeaseRun& run = at->second;
      const Bits named = named_[at->first];
      LeaseRun rest;
      rest.key = run.key;
      rest.first = run.first;
      rest.count = run.count;
      rest.attempt = run.attempt;
      rest.source = run.source;
      for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
        if (named.test(i)) continue;
        rest.open.set(i);
        run.open.clear(i);
      }
      if (rest.open.next_set(0) < rest.count) {
        rest.record = std::move(run.record);
        if (Queue* queue = state_.find_queue(run.key.queue)) give_back(state_, *queue, rest);
      }
      at = run.open.next_set(0) >= run.count ? worker_.leases.erase(at) : std::next(at);
    }
  }

 private:
  /// No broker can have granted a lease of a later start, or one of this start that is still to be given; nor can a
  /// message have been delivered under a later lease than the one that is claimed.
  [[nodiscard]] bool was_granted(const v1::Claim& wanted, std::uint32_t done) const {
    const LeaseId id{wanted.incarnation(), wanted.lease() + done};
    const LeaseId origin{wanted.origin_incarnation(), wanted.origin_lease() + done};
    return id < LeaseId{state_.incarnation, granted_from_} && id.counter > 0 && id.incarnation > 0 &&
           (origin.incarnation == 0 || origin <= id);
  }

  /// How many from `done` on were not claimed before, so that they are one claim.
  std::uint32_t run_of_unclaimed(const v1::Claim& wanted, std::uint32_t done) const {
    std::uint32_t n = 1;
    while (done + n < wanted.count() && n < protocol::segment_messages_most &&
           !reclaimed_.contains({wanted.incarnation(), wanted.lease() + done + n})) {
      ++n;
    }
    return n;
  }

  /// Keeps what is open from `lease` on; returns how many messages it has answered for.
  std::uint32_t keep(const v1::Claim& wanted, std::uint32_t done, std::uint64_t lease, bool settled) {
    const auto after = worker_.leases.upper_bound(lease);
    if (after != worker_.leases.begin()) {
      const auto at = std::prev(after);
      LeaseRun& run = at->second;
      const auto offset = static_cast<std::uint32_t>(lease - at->first);
      if (lease - at->first < run.count && run.open.test(offset) && run.key.queue == wanted.queue() &&
          run.key.segment == wanted.segment() && run.first + offset == wanted.first() + done) {
        const std::uint32_t n =
            std::min({run.open.next_clear(offset), run.count, offset + wanted.count() - done}) - offset;
        named_[at->first].set(offset, offset + n);
        if (!settled) run.settled_by_worker = false;
        answer(welcome_, wanted, done, n)->set_lease(lease);
        return n;
      }
    }
    // A settlement that was applied already, and perhaps not committed: sent again it is answered once it is.
    if (settled) {
      answer(welcome_, wanted, done, 1)->set_lease(lease);
    } else {
      answer(welcome_, wanted, done, 1)->set_stale(true);
    }
    return 1;
  }

  State& state_;
  Now now_;
  Worker& worker_;
  v1::Welcome& welcome_;
  Actions& actions_;
  std::uint64_t granted_from_;                  ///< leases from here on were granted by this HELLO's claims
  std::map<LeaseId, std::uint64_t> reclaimed_;  ///< by the lease claimed: the lease granted for it
  std::map<std::uint64_t, Bits> named_;         ///< by run: what is still theirs
};

}  // namespace

void keep_named(State& state, Now now, Worker& worker, const v1::Hello& hello, v1::Welcome& welcome, Actions& actions) {
  Naming naming(state, now, worker, welcome, actions);
  for (const auto& wanted : hello.held()) naming.name(wanted, false);
  for (const auto& wanted : hello.settled()) naming.name(wanted, true);
  naming.return_unnamed();
}

void keep_nothing(State& state, Now now, Worker& worker, const v1::Hello& hello, v1::Welcome& welcome,
                  Actions& actions) {
  for (const auto* claims : {&hello.held(), &hello.settled()}) {
    for (const auto& wanted : *claims) {
      if (wanted.count() > 0) answer(welcome, wanted, 0, wanted.count())->set_stale(true);
    }
  }
  Naming(state, now, worker, welcome, actions).return_unnamed();
}

}  // namespace weir::broker::core
