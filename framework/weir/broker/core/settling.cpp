// Settling: outcomes of deliveries.
#include <algorithm>
#include <optional>
#include <set>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {

void answer(v1::Settled& settled, std::uint64_t lease, std::uint64_t count, v1::Settled::Answer what,
            const std::string& reason) {
  if (count == 0) return;
  auto* run = settled.add_runs();
  run->set_lease(lease);
  run->set_count(static_cast<std::uint32_t>(count));
  run->set_answer(what);
  run->set_reason(reason);
}

namespace {

/// The estimated costs of applying an outcome, in nanoseconds.
constexpr std::int64_t ack_ns = 400;      // of neighbours in a segment
constexpr std::int64_t record_ns = 700;   // of a record
constexpr std::int64_t moved_ns = 1'300;  // of a message that becomes a record, or moves
constexpr std::int64_t stale_ns = 100;

std::int64_t cost_of(const LeaseRun& run, v1::Outcome outcome, std::uint32_t messages) {
  if (outcome != v1::ACK && outcome != v1::RELEASE) return moved_ns * messages;
  return run.source == Source::record ? record_ns : ack_ns;
}

/// Applies the runs of a settle frame, one after the other. It may stop between two of them, or within one, once its
/// effort is spent: each message is settled by itself.
class Settling {
 public:
  /// Leases that are not touched: their outputs were not taken, or they are acked already.
  std::set<std::uint64_t> excluded;
  v1::Settled stale;
  QueueSet touched;  ///< queues of which something may be delivered since

  Settling(ProcessToken token, std::uint32_t shard, Connection connection, std::uint64_t frame)
      : token_(token), shard_(shard), connection_(connection), frame_(frame) {}

  /// False: the effort was spent before the last of `runs` was applied.
  bool go_on(Turn& turn, Worker& worker, const google::protobuf::RepeatedPtrField<v1::Settle::Run>& runs) {
    while (at_ < runs.size()) {
      if (turn.state.effort.spent()) {
        share_and_dispatch(turn, worker);
        return false;
      }
      const v1::Settle::Run& wanted = runs.Get(at_);
      if (!started_) next_ = wanted.lease();
      started_ = settle(turn.state, turn.now, worker, wanted, true);
      if (!started_) ++at_;
    }
    finish(turn);
    share_and_dispatch(turn, worker);
    return true;
  }

  /// Applies an ack whose outputs were taken just now: both leave together, so it is not put off.
  void ack(State& state, Now now, Worker& worker, std::uint64_t lease) {
    v1::Settle::Run one;
    one.set_lease(lease);
    one.set_count(1);
    one.set_outcome(v1::ACK);
    next_ = lease;
    settle(state, now, worker, one, false);
    acked_.insert(lease);
    excluded.insert(lease);
  }
  /// Applies a run that waited until all sessions were back.
  void settle_late(State& state, Now now, Worker& worker, const v1::Settle::Run& wanted) {
    next_ = wanted.lease();
    // RULE: outcomes_wait_for_all_sessions
    may_defer_ = false;
    settle(state, now, worker, wanted, false);
  }

 private:
  /// Applies `wanted` from `next_` on; the part that must wait goes to `deferred_`. True: the effort is spent, and
  /// there is more.
  ///
  /// `stale` is answered with the next commit and not before: a settlement that is sent again is stale because it was
  /// applied, and its worker may forget it only once that is on disk.
  bool settle(State& state, Now now, Worker& worker, const v1::Settle::Run& wanted, bool may_stop) {
    const std::uint64_t end_of_all = wanted.lease() + wanted.count();
    while (next_ < end_of_all) {
      if (may_stop && state.effort.spent()) return true;
      const std::uint64_t lease = next_;
      const auto stop = excluded.lower_bound(lease);
      if (stop != excluded.end() && *stop == lease) {
        // If the lease is not its worker's any more, that outweighs what is wrong with its outputs.
        std::uint32_t offset = 0;
        if (!acked_.contains(lease) && find_open(worker, lease, offset) == nullptr) {
          skip(state, 1);
        } else {
          ++next_;
        }
        continue;
      }
      const std::uint64_t end = stop == excluded.end() ? end_of_all : std::min(end_of_all, *stop);
      auto at = worker.leases.upper_bound(lease);
      const std::uint64_t next = at == worker.leases.end() ? end : std::min(end, at->first);
      const bool before = at != worker.leases.begin();
      if (before) --at;
      if (!before || lease - at->first >= at->second.count) {
        // Its message may be another session's by now: promise 3.
        // RULE: old_lease_never_settles
        skip(state, next - lease);
        continue;
      }
      LeaseRun& run = at->second;
      const auto first = static_cast<std::uint32_t>(lease - at->first);
      const auto run_end = static_cast<std::uint32_t>(std::min<std::uint64_t>(run.count, end - at->first));
      if (!run.open.test(first)) {
        skip(state, std::min(run.open.next_set(first), run_end) - first);
        continue;
      }
      const std::uint32_t last = std::min(run.open.next_clear(first), run_end);
      next_ += last - first;
      if (may_defer_ && run.settled_by_worker && wanted.outcome() != v1::ACK && !state.recovered) {
        v1::Settle::Run& later = deferred_.emplace_back(wanted);
        later.set_lease(lease);
        later.set_count(last - first);
        state.effort.spend(stale_ns);
        continue;
      }
      state.effort.spend(cost_of(run, wanted.outcome(), last - first));
      Queue* queue = state.find_queue(run.key.queue);
      touched.insert(queue);
      if (!run.settled_by_worker) {
        const Load load{Messages{last - first}, Bytes{bytes_of(state, run, first, last)}};
        // RULE: settling_frees_the_window_at_once
        worker.let_go(worker.attachment(queue), load);
      }
      apply(state, now, worker, {at->first, run, first, last}, wanted);
      run.open.clear(first, last);
      if (run.finished()) worker.leases.erase(at);
    }
    return false;
  }

  void skip(State& state, std::uint64_t count) {
    // RULE: stale_is_answered
    answer(stale, next_, count, v1::Settled::STALE);
    next_ += count;
    state.effort.spend(stale_ns);
  }

  void finish(Turn& turn) {
    if (deferred_.empty()) {
      turn.state.gathering.settled_frames.push_back({connection_, frame_});
    } else {
      for (auto& later : deferred_) turn.state.deferred.push_back({token_, shard_, connection_, 0, std::move(later)});
      turn.state.deferred.back().frame = frame_;                        // the frame is confirmed with its last run
      if (turn.state.recovered) settle_deferred(turn.state, turn.now);  // all were back before the last slice
    }
    if (stale.runs_size() > 0) turn.state.gathering.stale.emplace_back(connection_, std::move(stale));
    tell_elided(turn.state, turn.actions);
  }

  void share_and_dispatch(Turn& turn, Worker& worker) {
    tell_elided(turn.state, turn.actions);
    // The window that was freed goes to the next queue, not to the one that freed it.
    if (worker.attached.size() > 1) dispatch_waiting(turn, worker);
    for (Queue* queue : touched) {
      if (!queue->windows.empty()) share_room(turn.state, *queue, turn.actions);
    }
    dispatch(turn, touched);
    touched.clear();
  }

  ProcessToken token_;
  std::uint32_t shard_{};
  Connection connection_{};
  std::uint64_t frame_{};
  int at_ = 0;            ///< the current run
  bool started_ = false;  ///< the current run was begun
  std::uint64_t next_{};  ///< the next lease of the current run
  bool may_defer_ = true;
  std::vector<v1::Settle::Run> deferred_;
  std::set<std::uint64_t> acked_;  ///< already, with their outputs
};

/// The rest of a settle frame.
class SettlingLater final : public Work {
 public:
  SettlingLater(Connection connection, Settling settling, google::protobuf::RepeatedPtrField<v1::Settle::Run> runs)
      : connection_(connection), settling_(std::move(settling)), runs_(std::move(runs)) {}

  bool go_on(Turn& turn) override {
    const Client* client = turn.state.find_client(connection_);
    // Its session has ended: what it held returns, and is settled by the session that gets it next.
    if (client == nullptr || client->worker == nullptr) return true;
    return settling_.go_on(turn, *client->worker, runs_);
  }

 private:
  Connection connection_{};
  Settling settling_;
  google::protobuf::RepeatedPtrField<v1::Settle::Run> runs_;
};

}  // namespace

void on_settle(Turn& turn, Client& client, std::uint64_t frame, const v1::Settle& settle, const Slice& run) {
  Worker& worker = *client.worker;
  for (const auto& wanted : settle.runs()) {
    if (wanted.lease() == 0 || wanted.outcome() < v1::ACK || wanted.outcome() > v1::THROTTLED || wanted.count() == 0 ||
        wanted.lease() + wanted.count() < wanted.lease() || wanted.lease() + wanted.count() > turn.state.next_lease) {
      return refuse(turn, client.connection, v1::Error::MALFORMED,
                    "SETTLE: leases " + std::to_string(wanted.lease()) + " and " + std::to_string(wanted.count()) +
                        " more with outcome " + std::to_string(wanted.outcome()) +
                        ": no such lease was granted, or no such outcome");
    }
  }
  if (const auto lease = output_without_ack(settle)) {
    return refuse(turn, client.connection, v1::Error::MALFORMED,
                  "SETTLE: an output names lease " + std::to_string(*lease) +
                      " as its source, which this frame does not ack; they leave together");
  }
  v1::Settled settled;
  Settling settling(worker.token, worker.shard, client.connection, frame);
  if (settle.outputs_size() > 0) {
    settling.excluded = take_outputs(turn.state, turn.now, worker, settle, run, settled);
    for (const auto& output : settle.outputs()) {
      for (const auto lease : output.source()) {
        if (!settling.excluded.contains(lease)) settling.ack(turn.state, turn.now, worker, lease);
      }
      Queue* queue = turn.state.find_queue(output.queue());
      if (queue == nullptr) continue;
      share_room(turn.state, *queue, turn.actions);
      if (queue->policy.ahead) settling.touched.insert(queue);
    }
  }
  if (settled.runs_size() > 0) {
    v1::Frame reply;
    *reply.mutable_settled() = std::move(settled);
    send(turn.state, client.connection, std::move(reply), turn.actions);
  }
  if (settling.go_on(turn, worker, settle.runs())) return;
  begin_work(turn.state, client,
             std::make_unique<SettlingLater>(client.connection, std::move(settling), settle.runs()));
}

void settle_deferred(State& state, Now now) {
  const auto all = std::move(state.deferred);
  state.deferred.clear();
  for (const auto& later : all) {
    Worker* worker = state.find_worker(later.token, later.shard);
    if (worker != nullptr) {
      Settling settling(later.token, later.shard, later.connection, later.frame);
      settling.settle_late(state, now, *worker, later.run);
      if (settling.stale.runs_size() > 0) {
        state.gathering.stale.emplace_back(later.connection, std::move(settling.stale));
      }
    }
    if (later.frame != 0) state.gathering.settled_frames.push_back({later.connection, later.frame});
  }
}

}  // namespace weir::broker::core
