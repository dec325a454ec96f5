// The broker's core alone, in frames of 256, without sockets and disk: publish, commit, deliver, settle; and the same
// with what is acked before it was written, so that it never is.
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

v1::Frame hello(v1::Kind kind) {
  v1::Frame frame;
  frame.set_number(1);
  auto& hello = *frame.mutable_hello();
  hello.set_magic(protocol::magic);
  hello.set_version_lowest(1);
  hello.set_version_highest(1);
  hello.set_kind(kind);
  hello.set_process_token(std::string(16, 't'));
  hello.set_publisher(std::string(16, 'p'));
  hello.add_attach()->set_queue("orders");
  hello.add_publish_to("orders");
  hello.mutable_window()->set_messages(1024);
  hello.mutable_window()->set_bytes(1 << 26);
  return frame;
}

void publish_deliver_settle(benchmark::State& bench, bool ahead) {
  constexpr int n = 256;
  NoStore store;
  Now now{Instant{Duration{1}}, WallTime{Duration{1}}};
  Config config;
  config.queues = {{"orders", {}}};
  config.queues[0].policy.ahead = ahead;
  Core core(config, store.recover(), store, now);
  Actions actions;
  const auto commit = [&] {
    while (core.wants_commit()) {
      benchmark::DoNotOptimize(core.seal(now));
      core.committed(now, actions);
    }
  };
  core.frame(now, 1, hello(v1::PUBLISHER), {}, actions);
  core.frame(now, 2, hello(v1::WORKER), {}, actions);
  commit();
  std::uint64_t epoch = 0;
  for (auto& action : actions) {
    if (auto* sent = std::get_if<Send>(&action)) {
      for (const auto& info : sent->frame.welcome().queues()) epoch = std::max(epoch, info.window().epoch());
    }
  }
  v1::Frame publish;
  auto* group = publish.mutable_publish()->add_groups();
  group->set_queue(1);
  group->set_epoch(epoch);
  group->mutable_index()->add_types("bench.Message");
  for (int i = 0; i < n; ++i) group->mutable_index()->add_lengths(250);
  v1::Frame settle;
  settle.mutable_settle()->add_runs()->set_outcome(v1::ACK);
  const Slice run = Slice::of(std::string(250 * n, 'x'));
  std::uint64_t number = 1;
  std::uint64_t frames = 1;
  actions.clear();
  for (auto _ : bench) {
    ++frames;
    publish.set_number(frames);
    group->set_first_number(number);
    number += n;
    core.frame(now, 1, publish, run, actions);
    if (!ahead) commit();
    for (const auto& action : actions) {
      if (const auto* sent = std::get_if<SendDelivery>(&action)) {
        settle.mutable_settle()->mutable_runs(0)->set_lease(sent->pieces.front().lease);
        settle.mutable_settle()->mutable_runs(0)->set_count(sent->pieces.front().count);
      }
    }
    actions.clear();
    settle.set_number(frames);
    core.frame(now, 2, settle, {}, actions);
    actions.clear();
    if (ahead && frames % 64 == 0) commit();
  }
  bench.SetItemsProcessed(bench.iterations() * n);
}
void written(benchmark::State& bench) { publish_deliver_settle(bench, false); }
BENCHMARK(written)->Apply(bench::counted);
void acked_before_it_was_written(benchmark::State& bench) { publish_deliver_settle(bench, true); }
BENCHMARK(acked_before_it_was_written)->Apply(bench::counted);

}  // namespace
}  // namespace weir::broker::core

BENCHMARK_MAIN();
