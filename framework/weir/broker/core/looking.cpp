// Looking: queues and workers, for people. States are derived here, by counting what there is.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// A session that has credit while its queue has work should be sent something within this.
constexpr Duration consuming_within = std::chrono::seconds(2);
/// A shard whose handler has not let its loop turn for so long consumes nothing.
constexpr Duration turns_within = std::chrono::seconds(1);

struct States {
  std::uint64_t ready{}, delayed{}, leased{}, unknown{}, suspects{};
};

bool known(const Queue& queue, const std::vector<std::string>& types) {
  if (queue.attached.empty()) return true;
  return std::any_of(queue.attached.begin(), queue.attached.end(), [&](Worker* worker) {
    const Attached* one = worker->attachment(&queue);
    return one->types.empty() ||
           std::any_of(types.begin(), types.end(), [&](const auto& type) { return one->types.contains(type); });
  });
}

States count(const State& state, const Queue& queue) {
  States states;
  for (const auto& lane : queue.lanes) {
    for (const auto& [number, segment] : lane.segments) {
      states.leased += segment.taken.count() - segment.settled.count() - segment.aside;
      const std::uint32_t free = segment.count - segment.taken.count();
      if (free > 0 && !known(queue, state.type_sets.types(segment.types))) states.unknown += free;
    }
  }
  for (const auto& record : queue.ready_records) {
    if (!known(queue, {record.type})) ++states.unknown;
  }
  std::uint64_t waiting = queue.ready_records.size();  // records that are due
  for (const auto& [suspicion, heads] : queue.suspects) {
    waiting += heads.size();
    states.suspects += heads.size();
    for (const auto& head : heads) {
      if (!known(queue, {head.type})) ++states.unknown;
    }
  }
  std::uint64_t leased_records = 0;
  for (const auto& [token, process] : state.processes) {
    for (const auto& [shard, worker] : process.workers) {
      for (const auto& [lease, run] : worker->leases) {
        if (run.key.queue != queue.id || run.source != Source::record) continue;
        ++leased_records;
        if (run.record && run.record->suspicion != v1::UNSUSPECTED) ++states.suspects;
      }
    }
  }
  states.leased += leased_records;
  states.delayed = queue.records.value - waiting - leased_records;
  // Live is all that is not gone or dead: what is neither leased nor delayed is ready, or will be with this commit.
  states.ready = queue.live.messages.value - states.leased - states.delayed;
  return states;
}

}  // namespace

void describe_queues(const State& state, v1::Queues& out) {
  for (const auto& [id, queue] : state.queues) {
    const States states = count(state, *queue);
    auto* one = out.add_queues();
    one->set_name(queue->name);
    one->set_id(id);
    one->set_in_file(queue->in_file);
    one->set_leased(states.leased);
    one->set_unknown(states.unknown);
    one->set_suspects(states.suspects);
    one->set_delayed(states.delayed);
    one->set_ready(states.ready);
    one->set_dead(queue->dead.value);
    one->set_damaged(queue->damaged.value);
    one->set_published(queue->state.published());
    one->set_acked(queue->state.acked());
    one->set_retried(queue->state.retried());
    one->set_rejected(queue->state.rejected());
    one->set_dead_lettered(queue->state.dead_lettered());
    one->set_bytes(queue->live.bytes.value);
    one->set_workers(static_cast<std::uint32_t>(queue->attached.size()));
    one->set_publishers(static_cast<std::uint32_t>(queue->windows.size()));
  }
}

void describe_workers(const State& state, Now now, v1::Workers& out) {
  for (const auto& [token, process] : state.processes) {
    for (const auto& [shard, worker] : process.workers) {
      auto* one = out.add_workers();
      one->set_group(worker->group);
      one->set_host(worker->host);
      one->set_pid(worker->pid);
      one->set_shard(shard);
      one->set_build(worker->build);
      bool waiting = false;
      for (const auto& attached : worker->attached) {
        one->add_queues(attached.queue->name);
        waiting = waiting || count(state, *attached.queue).ready > 0;
      }
      one->set_window_messages(worker->window.messages.value);
      one->set_window_bytes(worker->window.bytes.value);
      one->set_held_messages(worker->outstanding.messages.value);
      one->set_held_bytes(worker->outstanding.bytes.value);
      const Duration unseen = now.instant - process.last_seen;
      // Two keep-alives are missing. (At the whole of it the session ends, and is not listed.)
      const bool alive = unseen < state.config.session_timeout / 2;
      one->set_alive(alive);
      one->set_connected(worker->connection != 0);
      const bool sent = now.instant - worker->last_sent < consuming_within || worker->outstanding.messages.value > 0;
      const auto shown = process.shards.find(shard);
      const bool turns = alive && (shown == process.shards.end() ||
                                   Duration{static_cast<Duration::rep>(shown->second.since_turn_us())} < turns_within);
      one->set_consuming(worker->connection != 0 && worker->window.messages.value > 0 && turns && (sent || !waiting));
      one->set_last_seen_us(static_cast<std::uint64_t>(std::max<std::int64_t>(0, unseen.count())));
      if (shown != process.shards.end()) {
        one->set_since_turn_us(shown->second.since_turn_us());
        one->set_running(shown->second.running());
        one->set_stuck(shown->second.stuck());
      }
    }
  }
}

}  // namespace weir::broker::core
