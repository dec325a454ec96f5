// The broker's core alone, in frames of 256, without sockets and disk: publish, commit, deliver, settle; and the same
// with what is acked before it was written, so that it never is; among many workers, and among many queues.
#include <deque>

#include "counted.hpp"
#include "weir/broker/core/core.hpp"
#include "weir/engine/memory/memory_store.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

/// Writes nothing: what is measured is the core.
class NoStore : public Store {
 public:
  Recovered recover() override {
    Recovered recovered;
    recovered.incarnation = 1;
    return recovered;
  }
  void commit(const Batch&) override {}
  std::unique_ptr<Snapshot> snapshot() override { throw std::logic_error("nothing is read"); }
};

constexpr int batch = 256;
constexpr Connection publisher = 1;
constexpr Connection first_worker = 2;

std::string queue_name(std::uint64_t n) { return "queue" + std::to_string(n); }

v1::Frame hello(v1::Kind kind, std::uint64_t queues, std::uint32_t shard) {
  v1::Frame frame;
  frame.set_number(1);
  auto& hello = *frame.mutable_hello();
  hello.set_magic(protocol::magic);
  hello.set_version_lowest(1);
  hello.set_version_highest(1);
  hello.set_kind(kind);
  hello.set_process_token(std::string(16, 't'));
  hello.set_publisher(std::string(16, 'p'));
  hello.set_shard(shard);
  for (std::uint64_t n = 1; n <= queues; ++n) {
    hello.add_attach()->set_queue(queue_name(n));
    hello.add_publish_to(queue_name(n));
  }
  hello.mutable_window()->set_messages(1024 * queues);
  hello.mutable_window()->set_bytes((1 << 26) * queues);
  return frame;
}

struct World {
  bool ahead = true;
  std::uint64_t queues = 1;
  std::uint32_t workers = 1;
  bool full = false;  ///< their windows, and more waits
};

/// A batch goes to each queue in turn; then a delivery, the oldest, is settled by who was sent it.
void publish_deliver_settle(benchmark::State& bench, const World& world) {
  NoStore store;
  Now now{Instant{Duration{1}}, WallTime{Duration{1}}};
  Config config;
  for (std::uint64_t n = 1; n <= world.queues; ++n) {
    config.queues.push_back({queue_name(n), {}});
    config.queues.back().policy.ahead = world.ahead;
  }
  config.unanswered_most = Bytes{1 << 30};
  Core core(config, store.recover(), store, now);
  Actions actions;
  const auto commit = [&] {
    while (core.wants_commit()) {
      benchmark::DoNotOptimize(core.seal(now));
      core.committed(now, actions);
    }
  };
  core.frame(now, publisher, hello(v1::PUBLISHER, world.queues, 0), {}, actions);
  for (std::uint32_t i = 0; i < world.workers; ++i) {
    core.frame(now, first_worker + i, hello(v1::WORKER, world.queues, i), {}, actions);
  }
  commit();
  std::vector<std::uint64_t> epochs(world.queues + 1);
  for (auto& action : actions) {
    if (auto* sent = std::get_if<Send>(&action)) {
      for (const auto& info : sent->frame.welcome().queues()) {
        epochs[info.id()] = std::max(epochs[info.id()], info.window().epoch());
      }
    }
  }
  v1::Frame publish;
  auto* group = publish.mutable_publish()->add_groups();
  group->mutable_index()->add_types("bench.Message");
  for (int i = 0; i < batch; ++i) group->mutable_index()->add_lengths(250);
  v1::Frame settle;
  auto* settled = settle.mutable_settle()->add_runs();
  settled->set_outcome(v1::ACK);
  const Slice run = Slice::of(std::string(250 * batch, 'x'));
  std::uint64_t batches = 0;
  std::vector<std::uint64_t> frames(first_worker + world.workers, 1);
  struct Delivered {
    Connection to{};
    std::uint64_t lease{};
    std::uint32_t count{};
  };
  std::deque<Delivered> delivered;
  const auto look = [&] {
    for (const auto& action : actions) {
      const auto* sent = std::get_if<SendDelivery>(&action);
      if (sent == nullptr) continue;
      for (const auto& piece : sent->pieces) delivered.push_back({sent->to, piece.lease, piece.count});
    }
    actions.clear();
  };
  const auto publish_batch = [&] {
    const auto queue = static_cast<QueueId>(1 + batches % world.queues);
    group->set_queue(queue);
    group->set_epoch(epochs[queue]);
    group->set_first_number(1 + batch * batches++);
    publish.set_number(++frames[publisher]);
    core.frame(now, publisher, publish, run, actions);
    if (!world.ahead) commit();
    look();
  };
  actions.clear();
  // Delivery marks are on disk, and so is what fills the windows.
  const std::uint64_t first = world.queues + (world.full ? world.workers * 4 : 0);
  while (batches < first) {
    publish_batch();
    commit();
    look();
  }
  for (auto _ : bench) {
    publish_batch();
    const Delivered one = delivered.front();
    delivered.pop_front();
    settled->set_lease(one.lease);
    settled->set_count(one.count);
    settle.set_number(++frames[one.to]);
    core.frame(now, one.to, settle, {}, actions);
    look();
    if (world.ahead && batches % 64 == 0) commit();
  }
  bench.SetItemsProcessed(bench.iterations() * batch);
}
void written(benchmark::State& bench) { publish_deliver_settle(bench, {.ahead = false}); }
BENCHMARK(written)->Apply(bench::counted);
void acked_before_it_was_written(benchmark::State& bench) { publish_deliver_settle(bench, {}); }
BENCHMARK(acked_before_it_was_written)->Apply(bench::counted);
void among_queues(benchmark::State& bench) {
  publish_deliver_settle(bench, {.queues = static_cast<std::uint64_t>(bench.range(0))});
}
BENCHMARK(among_queues)->RangeMultiplier(10)->Range(1, 1000);
void among_workers(benchmark::State& bench) {
  publish_deliver_settle(bench, {.workers = static_cast<std::uint32_t>(bench.range(0))});
}
BENCHMARK(among_workers)->RangeMultiplier(10)->Range(1, 1000);
void among_full_workers(benchmark::State& bench) {
  publish_deliver_settle(bench, {.workers = static_cast<std::uint32_t>(bench.range(0)), .full = true});
}
BENCHMARK(among_full_workers)->RangeMultiplier(10)->Range(1, 1000);

}  // namespace
}  // namespace weir::broker::core

BENCHMARK_MAIN();
