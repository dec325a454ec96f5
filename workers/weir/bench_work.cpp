/// The benchmark's worker: a trivial handler, or one that waits, in real slots, shards and sessions.

#include <algorithm>
#include <atomic>
#include <bit>
#include <iostream>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "bench_message.hpp"
#include "commands.hpp"
#include "weir/handler.hpp"
#include "weir/worker/run.hpp"

namespace weir::cli {
namespace {

/// The messages that one shard has handled. Only its thread writes it.
struct alignas(64) Tally {
  explicit Tally(std::uint64_t messages) : seen(messages / 64 + 1) {}
  std::vector<std::uint64_t> seen;           ///< one bit per message
  std::vector<std::uint64_t> on_the_way_ns;  ///< of each timed message, in the order of arrival
  std::uint64_t first_ns = 0;
  std::uint64_t duplicates = 0;
  std::atomic<std::uint64_t> distinct{0};
};

void arrived(std::string_view payload, Tally* tally, bool timed) {
  const std::uint64_t now = timed || tally->first_ns == 0 ? nanoseconds_now() : 0;
  if (tally->first_ns == 0) tally->first_ns = now;
  const auto number = sequence_of(payload);
  if (!number || *number / 64 >= tally->seen.size()) throw Reject("no message of this benchmark");
  std::uint64_t& seen = tally->seen[*number / 64];
  const std::uint64_t bit = std::uint64_t{1} << (*number % 64);
  if ((seen & bit) != 0) {
    ++tally->duplicates;
  } else {
    seen |= bit;
    tally->distinct.store(tally->distinct.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (timed) tally->on_the_way_ns.push_back(now - published_at(payload));
  }
}

task<End> handle(Context& context, std::string_view payload, Tally* tally, const BenchPartOptions& options) {
  if (options.retry_percent > 0 && context.attempt() == 1 &&
      sequence_of(payload).value_or(0) % 100 < options.retry_percent) {
    co_return retried("the first attempt fails", std::chrono::milliseconds(options.retry_ms));
  }
  arrived(payload, tally, options.timed);
  if (options.handler_ms > 0) co_await sleep(std::chrono::milliseconds(options.handler_ms));
  co_return acked();
}

/// The milliseconds that `share` of the messages did not exceed. The first tenth is warm-up. 0 if none was timed.
double quantile(const std::vector<std::uint64_t>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return static_cast<double>(sorted[std::min(at, sorted.size() - 1)]) * 1e-6;
}

using Tallies = std::vector<std::unique_ptr<Tally>>;

std::uint64_t handled(const Tallies& tallies) {
  std::uint64_t sum = 0;
  for (const auto& tally : tallies) sum += tally->distinct.load(std::memory_order_relaxed);
  return sum;
}

/// Prints the sums of all shards as a line of JSON.
void print_sums(const Tallies& tallies, const BenchPartOptions& options, std::uint64_t last_ns) {
  std::vector<std::uint64_t> on_the_way_ns;
  for (const auto& tally : tallies) {
    const auto& taken = tally->on_the_way_ns;
    on_the_way_ns.insert(on_the_way_ns.end(), taken.begin() + static_cast<std::ptrdiff_t>(taken.size() / 10),
                         taken.end());
  }
  std::sort(on_the_way_ns.begin(), on_the_way_ns.end());
  std::uint64_t first_ns = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t duplicates = 0;
  std::uint64_t distinct = 0;
  for (const auto& tally : tallies) {
    if (tally->first_ns > 0) first_ns = std::min(first_ns, tally->first_ns);
    duplicates += tally->duplicates;
  }
  std::vector<std::uint64_t> all(options.messages / 64 + 1);
  for (const auto& tally : tallies) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      duplicates += static_cast<std::uint64_t>(std::popcount(all[i] & tally->seen[i]));
      all[i] |= tally->seen[i];
    }
  }
  for (const std::uint64_t word : all) distinct += static_cast<std::uint64_t>(std::popcount(word));
  std::cout << "{\"first_ns\": " << first_ns << ", \"last_ns\": " << last_ns << ", \"acked\": " << distinct
            << ", \"distinct\": " << distinct << ", \"duplicates\": " << duplicates << ", \"concurrency\": "
            << std::min(options.window, options.concurrency.value_or(options.window)) * options.shards
            << ", \"p50_ms\": " << quantile(on_the_way_ns, .5) << ", \"p99_ms\": " << quantile(on_the_way_ns, .99)
            << "}" << std::endl;
}

worker::GroupSettings settings_of(const BenchPartOptions& options) {
  worker::GroupSettings settings;
  settings.name = "bench";
  settings.engine = options.engine;
  settings.queues = bench_queues(options.queues);
  settings.shards = options.shards;
  settings.window.messages = Messages{options.window};
  settings.concurrency = options.concurrency.value_or(options.window);
  return settings;
}

}  // namespace

int bench_work(const BenchPartOptions& options) {
  Tallies tallies;
  for (std::uint32_t i = 0; i < options.shards; ++i) tallies.push_back(std::make_unique<Tally>(options.messages));
  const worker::GroupSettings settings = settings_of(options);
  std::stop_source stop;
  worker::Ended ended;
  std::uint64_t last_ns = 0;
  std::atomic<std::uint32_t> registered{0};
  std::atomic<bool> over{false};
  std::thread working([&] {
    const auto registration = [&](Plugin& plugin) {
      Tally* tally = tallies[plugin.shard()].get();
      for (const auto& queue : settings.queues) {
        plugin.on_raw(queue, bench_type, [tally, &options](Context& context, std::string_view payload) {
          return handle(context, payload, tally, options);
        });
      }
      ++registered;
    };
    try {
      ended = worker::run(settings, registration, stop.get_token());
    } catch (const std::exception& error) {
      ended.failure = error.what();
    }
    last_ns = nanoseconds_now();
    over = true;
  });
  using namespace std::chrono_literals;
  while (registered < options.shards && !over) std::this_thread::sleep_for(1ms);
  std::cout << "ready" << std::endl;
  // Each look reads a cache line of every shard.
  const auto pause = 1ms + options.shards * 10us;
  while (handled(tallies) < options.messages && !over) std::this_thread::sleep_for(pause);
  // Drains, and ends once every settlement is confirmed. The goodbyes that follow (some 10 ms) count too.
  stop.request_stop();
  working.join();

  if (!ended.failure.empty()) std::cerr << "weir: the worker failed: " << ended.failure << "\n";
  print_sums(tallies, options, last_ns);
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  return ended.exit_code();
}

}  // namespace weir::cli
