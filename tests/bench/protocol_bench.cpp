// What frames cost: a PUBLISH of 256 messages read and checked, and one written; a confirmation and a settlement, read.
#include "counted.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::protocol {
namespace {

constexpr std::uint32_t n = segment_messages_most;
constexpr std::uint32_t body_bytes = 250;

v1::Frame publish() {
  v1::Frame frame;
  frame.set_number(7);
  auto* group = frame.mutable_publish()->add_groups();
  group->set_queue(1);
  group->set_epoch(1);
  group->set_first_number(1);
  group->mutable_index()->add_types("bench.Message");
  for (std::uint32_t i = 0; i < n; ++i) group->mutable_index()->add_lengths(body_bytes);
  return frame;
}

void read_publish(benchmark::State& bench) {
  const std::string bytes = encode(publish(), std::string(n * body_bytes, 'x'));
  v1::Frame head;
  for (auto _ : bench) {
    const auto run = decode(bytes, head);
    benchmark::DoNotOptimize(check(head.publish().groups(0).index(), run->size(), message_most_default));
  }
  bench.SetItemsProcessed(bench.iterations() * n);
}
BENCHMARK(read_publish)->Apply(bench::counted);

void write_publish(benchmark::State& bench) {
  const v1::Frame frame = publish();
  std::string bytes;
  for (auto _ : bench) {
    bytes.resize(encoded_size(frame, n * body_bytes));
    benchmark::DoNotOptimize(encode_head(frame, n * body_bytes, bytes.data()));
  }
  bench.SetItemsProcessed(bench.iterations() * n);
}
BENCHMARK(write_publish)->Apply(bench::counted);

void gather_bodies(benchmark::State& bench) {
  const std::string payload(body_bytes, 'x');
  std::string run;
  for (auto _ : bench) {
    run.clear();
    for (std::uint32_t i = 0; i < n; ++i) append_body(payload, run);
    benchmark::DoNotOptimize(run.data());
  }
  bench.SetItemsProcessed(bench.iterations() * n);
}
BENCHMARK(gather_bodies)->Apply(bench::counted);

void look_into_bodies(benchmark::State& bench) {
  std::string body;
  append_body(std::string(body_bytes, 'x'), body);
  for (auto _ : bench) {
    for (std::uint32_t i = 0; i < n; ++i) benchmark::DoNotOptimize(decode_body(body));
  }
  bench.SetItemsProcessed(bench.iterations() * n);
}
BENCHMARK(look_into_bodies)->Apply(bench::counted);

}  // namespace
}  // namespace weir::protocol

BENCHMARK_MAIN();
