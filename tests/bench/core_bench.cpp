// The broker's core alone, in frames of 256, without sockets and disk: publish, commit, deliver, settle; and the same
// with what is acked before it was written, so that it never is; among many workers, and among many queues; and with
// every message retried once.
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
  std::unique_ptr<Snapshot> snapshot() override { return std::make_unique<Nothing>(); }

 private:
  struct Nothing final : Snapshot {
    std::optional<std::string_view> segment(SegmentKey) override { throw std::logic_error("nothing is read"); }
    std::optional<std::string_view> record(Place) override { return {}; }
    std::optional<std::string_view> dead(Place) override { return {}; }
    DueWalk due(const DueSearch& search, const Places&, std::vector<RecordHead>&) override {
      return {search.after, std::numeric_limits<std::int64_t>::max(), 0, {}};
    }
    std::optional<RecordHead> record_head(Place) override { return {}; }
    void dead_after(QueueId, std::optional<Place>, std::size_t, std::vector<Place>&) override {}
  };
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
  hello.set_version_lowest(2);
  hello.set_version_highest(2);
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

/// A core over no store, at a time that stands still, and what it wants done.
struct Alone {
  explicit Alone(const Config& config) : core(config, store.recover(), store, now) {}
  void commit() {
    while (core.wants_commit() || core.has_work()) {
      if (core.has_work()) core.go_on(now, actions);
      if (!core.wants_commit()) continue;
      benchmark::DoNotOptimize(core.seal(now));
      core.committed(now, actions);
    }
  }

  NoStore store;
  Now now{Instant{Duration{1}}, WallTime{Duration{1}}};
  Core core;
  Actions actions;
};

struct World {
  bool ahead = true;
  std::uint64_t queues = 1;
  std::uint32_t workers = 1;
  bool full = false;  ///< their windows, and more waits
};

/// A batch goes to each queue in turn; then a delivery, the oldest, is settled by who was sent it.
void publish_deliver_settle(benchmark::State& bench, const World& world) {
  Config config;
  for (std::uint64_t n = 1; n <= world.queues; ++n) {
    config.queues.push_back({queue_name(n), {}});
    config.queues.back().policy.ahead = world.ahead;
  }
  config.unanswered_most = Bytes{1 << 30};
  Alone alone(config);
  Core& core = alone.core;
  Now& now = alone.now;
  Actions& actions = alone.actions;
  const auto commit = [&alone] { alone.commit(); };
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

/// A batch is published and delivered; each message fails, waits for a moment as a record, and is acked.
void retried_once(benchmark::State& bench) {
  Config config;
  config.queues.push_back({queue_name(1), {}});
  Alone alone(config);
  Core& core = alone.core;
  Now& now = alone.now;
  Actions& actions = alone.actions;
  const auto commit = [&alone] { alone.commit(); };
  core.frame(now, publisher, hello(v1::PUBLISHER, 1, 0), {}, actions);
  core.frame(now, first_worker, hello(v1::WORKER, 1, 0), {}, actions);
  commit();
  v1::Frame publish;
  auto* group = publish.mutable_publish()->add_groups();
  group->set_queue(1);
  for (const auto& action : actions) {
    const auto* sent = std::get_if<Send>(&action);
    if (sent != nullptr && sent->to == publisher && sent->frame.has_welcome())
      group->set_epoch(sent->frame.welcome().queues(0).window().epoch());
  }
  group->mutable_index()->add_types("bench.Message");
  for (int i = 0; i < batch; ++i) group->mutable_index()->add_lengths(250);
  const Slice run = Slice::of(std::string(250 * batch, 'x'));
  std::uint64_t published = 0;
  std::uint64_t settled = 1;
  // What was delivered is settled in one frame: as workers tell of it: a run a message that failed, one of
  // all that are acked.
  const auto settle = [&](v1::Outcome outcome) {
    v1::Frame frame;
    for (const auto& action : actions) {
      const auto* sent = std::get_if<SendDelivery>(&action);
      if (sent == nullptr) continue;
      for (const auto& piece : sent->pieces) {
        auto* runs = frame.mutable_settle()->mutable_runs();
        for (std::uint64_t i = 0; i < piece.count; ++i) {
          const bool joins = outcome == v1::ACK && !runs->empty() &&
                             runs->rbegin()->lease() + runs->rbegin()->count() == piece.lease + i;
          if (joins) {
            runs->rbegin()->set_count(runs->rbegin()->count() + 1);
            continue;
          }
          auto* one = runs->Add();
          one->set_lease(piece.lease + i);
          one->set_count(1);
          one->set_outcome(outcome);
          if (outcome == v1::ACK) continue;
          one->set_error("told to fail");
          one->set_delay_us(1000);
          one->set_started_at_us(1'700'000'000'000'000);
          one->set_duration_us(10);
        }
      }
    }
    actions.clear();
    frame.set_number(++settled);
    core.frame(now, first_worker, frame, {}, actions);
    commit();
  };
  for (auto _ : bench) {
    group->set_first_number(1 + batch * published++);
    publish.set_number(1 + published);
    core.frame(now, publisher, publish, run, actions);
    commit();
    settle(v1::RETRY);
    now = {now.instant + std::chrono::milliseconds(2), now.wall + std::chrono::milliseconds(2)};
    core.tick(now, actions);
    settle(v1::ACK);
  }
  v1::Queues counts;
  core.list_queues(counts);
  if (counts.queues(0).acked() != published * batch) bench.SkipWithError("not all were acked");
  bench.SetItemsProcessed(bench.iterations() * batch);
}
BENCHMARK(retried_once)->Apply(bench::counted);

}  // namespace
}  // namespace weir::broker::core

BENCHMARK_MAIN();
