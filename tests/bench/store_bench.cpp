// What the store costs, its syncs left out: a commit brings two segments of 256 messages and drops the two before; or
// one segment whose messages all become records in the next, as many of which, those due first, are dropped.
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <queue>
#include <random>
#include <stdexcept>
#include <vector>

#include "counted.hpp"
#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {
namespace {

constexpr std::uint32_t n = 256;
constexpr std::uint32_t body_bytes = 250;
constexpr SegmentNumber a_commit = 2;

core::PutSegment segment(SegmentNumber number) {
  static const auto contents = [] {
    auto all = std::make_shared<core::Contents>();
    all->index.add_types("bench.Message");
    for (std::uint32_t i = 0; i < n; ++i) all->index.add_lengths(body_bytes);
    all->names = {{*PublisherId::from("its publisher id"), 0, n}};
    all->run = {Slice::of(std::string(n * body_bytes, 'x'))};
    all->published_at_us = 1;
    return all;
  }();
  return {{1, 4, number}, contents, n * body_bytes, {}};
}

/// `next` makes the batch of a number from 1.
void commit_all(benchmark::State& bench, std::uint32_t messages,
                const std::function<core::Batch(std::uint64_t)>& next) {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("cannot make " + folder);
  {
    LmdbStore store({.data = folder + "/data",
                     .durability = Durability::none,
                     .reserve = {1 << 20},
                     .map = {1 << 30}});  // valgrind has not more
    (void)store.recover();
    std::uint64_t number = 0;
    for (auto _ : bench) {
      core::Batch batch = next(++number);
      batch.number = number;
      store.commit(batch);
    }
  }
  std::filesystem::remove_all(folder);
  bench.SetItemsProcessed(bench.iterations() * messages);
}

void commit(benchmark::State& bench) {
  commit_all(bench, 2 * n, [](std::uint64_t number) {
    core::Batch batch;
    for (const SegmentNumber key : {2 * number - 1, 2 * number}) {
      batch.writes.emplace_back(segment(key));
      if (key > 2) batch.writes.emplace_back(core::DropSegment{{1, 4, key - 2}});
    }
    return batch;
  });
}
BENCHMARK(commit)->Apply(bench::counted);

void retried(benchmark::State& bench) {
  constexpr std::int64_t a_commit_us = 10'000;
  constexpr std::int64_t pause_us = 200'000;  // to twice that
  v1::Attempt attempt;
  attempt.set_number(1);
  attempt.set_worker("bench/host/4711/0");
  attempt.set_error("told to fail");
  const core::Attempted attempted(attempt);
  using Due = std::pair<std::int64_t, Place>;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> waiting;
  std::minstd_rand random(1);
  commit_all(bench, n, [&](std::uint64_t number) {
    core::Batch batch;
    const std::int64_t now_us = static_cast<std::int64_t>(number) * a_commit_us;
    batch.writes.emplace_back(segment(number));
    for (std::uint32_t i = 0; number > 1 && i < n; ++i) {
      core::MoveMessage move;
      move.place = {1, number - 1, i};
      move.lane = 4;
      move.at_us = now_us + pause_us + static_cast<std::int64_t>(random() % pause_us);
      move.attempts = 1;
      move.lease = {1, number};
      move.attempt = attempted;
      waiting.emplace(move.at_us, move.place);
      batch.writes.emplace_back(std::move(move));
    }
    if (number > 1) batch.writes.emplace_back(core::DropSegment{{1, 4, number - 1}});
    for (; !waiting.empty() && waiting.top().first <= now_us; waiting.pop()) {
      batch.writes.emplace_back(core::DropRecord{waiting.top().second, waiting.top().first});
    }
    return batch;
  });
}
BENCHMARK(retried)->Apply(bench::counted);

}  // namespace
}  // namespace weir::broker

BENCHMARK_MAIN();
