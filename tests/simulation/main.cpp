// simulation: runs seeds, and says what broke and how to see it again.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>

#include "shrink.hpp"
#include "world.hpp"

namespace weir::simulation {
namespace {

struct Arguments {
  std::string seeds;
  std::uint64_t seed = 0;
  double seconds = 0;
  std::uint64_t from = 0;
  bool trace = false;
  bool quiet = false;
  bool coverage = false;
  bool twice = false;
  bool goes_on = false;
  bool shrinks = true;
  std::vector<std::string> without;
  std::string skip;
  std::size_t pairs_least = 0;
  std::uint32_t messages = ~0U, publishers = ~0U, processes = ~0U;
};

struct Sum {
  std::uint64_t seeds = 0, steps = 0, faults = 0;
  double virtual_s = 0;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
};

RunOptions options_of(const Arguments& arguments, std::uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  options.without = {arguments.without.begin(), arguments.without.end()};
  options.skipped = parse_numbers(arguments.skip);
  options.messages_most = arguments.messages;
  options.publishers_most = arguments.publishers;
  options.processes_most = arguments.processes;
  options.trace = arguments.trace;
  return options;
}

void print_sum(const Sum& sum, const Coverage& coverage, bool tables) {
  std::printf("%llu seeds, %llu steps, %llu faults, %.0f s of virtual time in %.1f s: %.0f steps/s\n",
              static_cast<unsigned long long>(sum.seeds), static_cast<unsigned long long>(sum.steps),
              static_cast<unsigned long long>(sum.faults), sum.virtual_s, sum.seconds(),
              static_cast<double>(sum.steps) / sum.seconds());
  for (const auto* table : {&coverage.messages, &coverage.broker}) {
    std::printf("coverage: %s: %zu of %zu pairs of (state, event)\n", table->name(), table->met(), table->size());
    if (tables) std::printf("%s", table->print().c_str());
  }
}

/// False if it broke.
bool run_one(const Arguments& arguments, std::uint64_t seed, Sum& sum, Coverage& coverage) {
  const RunOptions options = options_of(arguments, seed);
  const Result result = World(options, coverage).run();
  ++sum.seeds;
  sum.steps += result.steps;
  sum.faults += result.faults;
  sum.virtual_s += static_cast<double>(result.virtual_us) / 1e6;
  if (arguments.twice) {
    Coverage unused;
    const Result again = World(options, unused).run();
    if (again.steps != result.steps || again.fingerprint != result.fingerprint) {
      std::printf("BROKEN seed %llu: it ran otherwise when it was run again, %llu steps after %llu\n",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(again.steps),
                  static_cast<unsigned long long>(result.steps));
      return false;
    }
  }
  if (result.broken.empty()) return true;
  std::printf("BROKEN seed %llu, step %llu: %s\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(result.steps), result.broken.c_str());
  if (arguments.shrinks && !arguments.trace) {
    const RunOptions small = shrink(options, result);
    std::printf("replay: simulation %s --trace\n", print(small).c_str());
  }
  return false;
}

int run(const Arguments& arguments) {
  Sum sum;
  Coverage coverage;
  bool good = true;
  if (arguments.seed != 0) {
    good = run_one(arguments, arguments.seed, sum, coverage);
  } else if (!arguments.seeds.empty()) {
    const auto dash = arguments.seeds.find('-');
    const std::uint64_t first = std::stoull(arguments.seeds);
    const std::uint64_t last = dash == std::string::npos ? first : std::stoull(arguments.seeds.substr(dash + 1));
    for (std::uint64_t seed = first; seed <= last && (good || arguments.goes_on); ++seed) {
      good = run_one(arguments, seed, sum, coverage) && good;
    }
  } else {
    const std::uint64_t base = arguments.from != 0 ? arguments.from : std::random_device{}() * 1'000'000ULL + 1;
    std::printf("seeds from %llu on, for %.0f s\n", static_cast<unsigned long long>(base), arguments.seconds);
    std::fflush(stdout);
    for (std::uint64_t seed = base; good && sum.seconds() < arguments.seconds; ++seed) {
      good = run_one(arguments, seed, sum, coverage);
    }
  }
  if (!arguments.quiet || !good) print_sum(sum, coverage, arguments.coverage);
  const std::size_t met = coverage.messages.met() + coverage.broker.met();
  if (met < arguments.pairs_least) {
    std::printf("BROKEN coverage: %zu pairs of (state, event) were met; the least is %zu (--coverage shows which)\n",
                met, arguments.pairs_least);
    good = false;
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace weir::simulation

int main(int argc, char** argv) {
  CLI::App app{"Simulates a broker and its clients, seed by seed, and checks every promise after every step"};
  weir::simulation::Arguments arguments;
  app.add_option("--seed", arguments.seed, "run this one seed");
  app.add_option("--seeds", arguments.seeds, "run seeds A to B: A-B");
  app.add_option("--seconds", arguments.seconds, "run fresh seeds for so long")->default_val(30);
  app.add_option("--from", arguments.from, "with --seconds: the first seed, instead of a random one");
  app.add_flag("--trace", arguments.trace, "print what happens");
  app.add_flag("--quiet", arguments.quiet, "print only what is broken");
  app.add_flag("--coverage", arguments.coverage, "print the tables of pairs (state, event)");
  app.add_option("--pairs", arguments.pairs_least, "fail if fewer pairs of (state, event) were met");
  app.add_flag("--twice", arguments.twice, "run each seed twice: both runs must be the same");
  app.add_flag("--go-on", arguments.goes_on, "with --seeds: not only up to the first that breaks");
  app.add_flag("!--no-shrink", arguments.shrinks, "do not make a broken run smaller");
  app.add_option("--without", arguments.without, "kinds of faults or outcomes that do not happen")->delimiter(',');
  app.add_option("--skip", arguments.skip, "faults that do not happen, by number: 0-3,7");
  app.add_option("--messages", arguments.messages, "at most so many a publisher");
  app.add_option("--publishers", arguments.publishers, "at most so many");
  app.add_option("--processes", arguments.processes, "at most so many worker processes");
  CLI11_PARSE(app, argc, argv);
  return weir::simulation::run(arguments);
}
