// What the store costs, its syncs left out: a commit brings two segments of 256 messages and drops the two before.
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

#include "counted.hpp"
#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {
namespace {

constexpr std::uint32_t n = 256;
constexpr std::uint32_t body_bytes = 250;
constexpr SegmentNumber a_commit = 2;

core::PutSegment segment(SegmentNumber number) {
  static const auto index = [] {
    auto all = std::make_shared<v1::Index>();
    all->add_types("bench.Message");
    for (std::uint32_t i = 0; i < n; ++i) all->add_lengths(body_bytes);
    return all;
  }();
  static const Slice run = Slice::of(std::string(n * body_bytes, 'x'));
  core::PutSegment put;
  put.key = {1, 4, number};
  put.index = index;
  put.run = {run};
  put.published_at_us = 1;
  put.head.set_count(n);
  put.head.set_bytes(n * body_bytes);
  put.head.add_types("bench.Message");
  return put;
}

void commit(benchmark::State& bench) {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("cannot make " + folder);
  {
    LmdbStore store({.data = folder + "/data",
                     .durability = Durability::none,
                     .reserve = {1 << 20},
                     .map = {1 << 30}});  // valgrind has not more
    (void)store.recover();
    SegmentNumber number = 0;
    for (auto _ : bench) {
      core::Batch batch;
      for (SegmentNumber i = 0; i < a_commit; ++i) {
        ++number;
        batch.writes.emplace_back(segment(number));
        if (number > a_commit) batch.writes.emplace_back(core::DropSegment{{1, 4, number - a_commit}});
      }
      batch.number = number / a_commit;
      store.commit(batch);
    }
  }
  std::filesystem::remove_all(folder);
  bench.SetItemsProcessed(bench.iterations() * n * static_cast<std::int64_t>(a_commit));
}
BENCHMARK(commit)->Apply(bench::counted);

}  // namespace
}  // namespace weir::broker

BENCHMARK_MAIN();
