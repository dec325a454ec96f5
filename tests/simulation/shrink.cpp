#include "shrink.hpp"

#include <algorithm>
#include <chrono>

#include "faults.hpp"
#include "outcomes.hpp"

namespace weir::simulation {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto patience = std::chrono::seconds(20);

class Shrinker {
 public:
  Shrinker(const RunOptions& options, const Result& result) : best_(options), result_(result), began_(Clock::now()) {}

  RunOptions shrink() {
    kinds();
    sizes();
    faults();
    kinds();
    sizes();
    return best_;
  }

 private:
  /// Keeps `smaller` if it still breaks the same promise.
  bool try_it(RunOptions smaller) {
    if (Clock::now() - began_ > patience) return false;
    smaller.trace = false;
    smaller.steps_most = result_.steps * 2 + 1000;  // what breaks much later is another story
    Coverage coverage;
    const Result result = World(smaller, coverage).run();
    if (result.promise != result_.promise) return false;
    smaller.trace = best_.trace;
    smaller.steps_most = best_.steps_most;
    best_ = std::move(smaller);
    result_ = result;
    return true;
  }

  void kinds() {
    std::vector<std::string> names{"ahead",    "compaction", "delays",     "times",  "outputs",
                                   "operator", "silence",    "late_takes", "poison", "slices"};
    for (std::size_t i = 0; i < fault_kinds(); ++i) names.emplace_back(fault_name(i));
    for (std::size_t i = 1; i < outcome_kinds.size(); ++i) names.emplace_back(outcome_kinds[i].name);
    for (const auto& name : names) {
      RunOptions smaller = best_;
      if (smaller.without.insert(name).second) try_it(std::move(smaller));
    }
  }

  void sizes() {
    for (auto size : {&RunOptions::publishers_most, &RunOptions::processes_most, &RunOptions::messages_most}) {
      std::uint32_t most = std::min<std::uint32_t>(best_.*size, 256);
      for (std::uint32_t step = most / 2; step > 0; step /= 2) {
        while (most > step) {
          RunOptions smaller = best_;
          smaller.*size = most - step;
          if (!try_it(std::move(smaller))) break;
          most -= step;
        }
      }
    }
  }

  /// Pieces of the faults that are left, first large ones, then one by one.
  void faults() {
    best_.skipped.resize(result_.faults);
    for (std::size_t piece = std::max<std::size_t>(1, result_.faults / 2); piece > 0; piece /= 2) {
      for (std::size_t from = 0; from < best_.skipped.size(); from += piece) {
        RunOptions smaller = best_;
        bool any = false;
        for (std::size_t i = from; i < std::min(from + piece, smaller.skipped.size()); ++i) {
          any = any || !smaller.skipped[i];
          smaller.skipped[i] = true;
        }
        if (any) try_it(std::move(smaller));
      }
    }
  }

  RunOptions best_;
  Result result_;
  Clock::time_point began_;
};

}  // namespace

RunOptions shrink(const RunOptions& options, const Result& result) { return Shrinker(options, result).shrink(); }

std::string print(const RunOptions& options) {
  std::string text = "--seed " + std::to_string(options.seed);
  const char* separator = " --without ";
  for (const auto& name : options.without) {
    text += separator + name;
    separator = ",";
  }
  separator = " --skip ";
  for (std::size_t i = 0; i < options.skipped.size(); ++i) {
    if (!options.skipped[i]) continue;
    std::size_t last = i;
    while (last + 1 < options.skipped.size() && options.skipped[last + 1]) ++last;
    text += separator + std::to_string(i) + (last > i ? "-" + std::to_string(last) : "");
    separator = ",";
    i = last;
  }
  if (options.messages_most != ~0U) text += " --messages " + std::to_string(options.messages_most);
  if (options.publishers_most != ~0U) text += " --publishers " + std::to_string(options.publishers_most);
  if (options.processes_most != ~0U) text += " --processes " + std::to_string(options.processes_most);
  return text;
}

std::vector<bool> parse_numbers(const std::string& text) {
  std::vector<bool> bits;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t used = 0;
    const std::size_t first = std::stoul(text.substr(at), &used);
    at += used;
    std::size_t last = first;
    if (at < text.size() && text[at] == '-') {
      last = std::stoul(text.substr(at + 1), &used);
      at += used + 1;
    }
    if (bits.size() <= last) bits.resize(last + 1);
    for (std::size_t i = first; i <= last; ++i) bits[i] = true;
    ++at;
  }
  return bits;
}

}  // namespace weir::simulation
