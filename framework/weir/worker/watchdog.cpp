#include "weir/worker/watchdog.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "weir/message/ids.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/process_state.hpp"
#include "weir/worker/recorder/marks.hpp"
#include "weir/worker/recorder/symbols.hpp"
#include "weir/worker/stalls.hpp"

namespace weir::worker {
namespace {

using recorder::OnCpu;
using recorder::ThreadLine;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// The longest time between two looks. A stall is found within half of `stall_after`. Memory is read each `look_most`
/// while handlers run, and each `sample_most` while none runs. By default that is 20 wake-ups per second. While no
/// handler runs, the watchdog sleeps until one does, and wakes each `nap_most`, so that its sleep is not taken for a
/// stopped process.
constexpr Clock::duration look_most = 50ms;
constexpr Clock::duration nap_most = 400ms;
static_assert(nap_most < Stalls::gap_most);
constexpr Clock::duration sample_most = 1s;
constexpr Clock::duration look_least = 2ms;
/// The least time between two reports of stalls, for all shards together: each takes and prints a stack.
constexpr Duration stalls_every = 1s;

/// The longest name on a line of log.
constexpr std::size_t name_bytes_most = 160;

/// Returns `a < b < c`, innermost first.
std::string printed(const std::vector<std::uint64_t>& frames) {
  std::string text;
  for (const std::string& name :
       recorder::readable_stack(recorder::names_of(recorder::own_map(), frames), name_bytes_most)) {
    text += (text.empty() ? "" : " < ") + name;
  }
  return text;
}

/// Says what the handler does with the thread that it holds.
std::string_view words_of(bool waits) { return waits ? "waits" : "computes"; }

}  // namespace

struct Watchdog::State {
  State(const GroupSettings& group, recorder::Recorder& of, std::vector<std::string> names,
        std::function<void(const Stuck&)> told)
      : settings(group),
        recorder(of),
        types(std::move(names)),
        stuck(std::move(told)),
        looks(std::clamp<Clock::duration>(group.stall_after / 2, look_least, look_most)) {
    for (std::uint32_t i = 0; i < recorder.shape().shards; ++i) threads.emplace_back(true, Clock::now());
    for (std::uint32_t i = 0; i < recorder.shape().pool; ++i) threads.emplace_back(false, Clock::now());
    thread = std::thread([this] { run(); });
  }
  ~State() {
    recorder.bell().close();
    thread.join();
  }

  void run() {
    pthread_setname_np(pthread_self(), "weir-watchdog");
    Clock::time_point sampled_at;
    bool ran = false;  // a handler ran since the last sample
    bool idle = false;
    while (!recorder.bell().wait(idle ? nap_most : looks, idle)) {
      const auto now = Clock::now();
      if (now - sampled_at >= (ran ? look_most : sample_most)) {
        recorder.sample();
        sampled_at = now;
        ran = false;
      }
      for (std::size_t i = 0; i < threads.size(); ++i) look(i);
      idle = !have_run();  // last: a handler that enters after this rings the bell
      ran = ran || !idle;
    }
  }

  /// True if a handler is on a CPU, or was since the last call.
  bool have_run() {
    std::uint64_t sum = 0;
    bool runs = false;
    for (const ThreadLine& line : recorder.threads()) {
      const std::uint64_t running = line.running.load(std::memory_order_relaxed);
      sum += running >> 32;
      runs = runs || static_cast<std::uint32_t>(running) != 0;
    }
    return std::exchange(turns, sum) != sum || runs;
  }

  void look(std::size_t i) {
    ThreadLine& line = recorder.threads()[i];
    // In this order: if the process is stopped between the two, the next look finds the gap.
    const auto now = Clock::now();
    const auto on_cpu = recorder.on_cpu(line);
    const auto kind = threads[i].look(now, settings.stall_after, on_cpu);
    if (kind == Stall::stalled) stalled(line, *on_cpu);
    if (kind == Stall::stuck) stuck_at(line, *on_cpu, i < recorder.shape().shards);
  }

  [[nodiscard]] std::uint32_t shard_of(const OnCpu& on_cpu) const { return on_cpu.slot / recorder.shape().slots; }
  [[nodiscard]] std::string id_of(const OnCpu& on_cpu) const {
    return print_id(settings.queues[on_cpu.what.queue], on_cpu.what.segment, on_cpu.what.index);
  }
  [[nodiscard]] std::string type_of(const OnCpu& on_cpu) const {
    return on_cpu.what.handler < types.size() ? types[on_cpu.what.handler] : std::string();
  }
  /// Returns the stack of that handler; nothing if it no longer runs once the stack was taken.
  [[nodiscard]] std::vector<std::uint64_t> stack_of(const ThreadLine& line, const OnCpu& on_cpu) const {
    std::vector<std::uint64_t> frames = recorder::stack_of(line);
    const auto now = recorder.on_cpu(line);
    if (!now || now->running != on_cpu.running) frames.clear();
    return frames;
  }

  void stalled(const ThreadLine& line, const OnCpu& on_cpu) {
    const auto left_out = stalls.pass(Clock::now());
    if (!left_out) return;
    const bool waits = thread_waits(line.thread);  // before its stack is taken, which interrupts it
    const std::vector<std::uint64_t> frames = stack_of(line, on_cpu);
    const std::string stack = printed(frames);
    const auto again = recorder.on_cpu(line);
    log::warn("loop_stalled", {{"worker", settings.name},
                               {"shard", shard_of(on_cpu)},
                               {"queue", settings.queues[on_cpu.what.queue]},
                               {"message", id_of(on_cpu)},
                               {"attempt", on_cpu.what.attempt},
                               {"type", type_of(on_cpu)},
                               {"held", Clock::now() - on_cpu.since},
                               {"still", again && again->running == on_cpu.running},
                               {"doing", words_of(waits)},
                               {"left_out", *left_out},
                               {"stack", stack}});
  }

  void stuck_at(ThreadLine& line, const OnCpu& on_cpu, bool on_loop) {
    const bool waits = thread_waits(line.thread);
    const std::vector<std::uint64_t> frames = stack_of(line, on_cpu);
    recorder.save_map();
    recorder::mark_stuck(line, on_cpu, waits, frames);
    const Stuck found{.shard = shard_of(on_cpu), .on_loop = on_loop, .message = id_of(on_cpu)};
    log::error("handler_stuck", {{"worker", settings.name},
                                 {"shard", found.shard},
                                 {"queue", settings.queues[on_cpu.what.queue]},
                                 {"message", found.message},
                                 {"attempt", on_cpu.what.attempt},
                                 {"type", type_of(on_cpu)},
                                 {"where", on_loop ? "loop" : "offload"},
                                 {"doing", words_of(waits)},
                                 {"timeout", on_cpu.what.deadline - on_cpu.what.started},
                                 {"after", Clock::now() - on_cpu.what.started},
                                 {"stack", printed(frames)}});
    stuck(found);
  }

  const GroupSettings& settings;
  recorder::Recorder& recorder;
  const std::vector<std::string> types;
  const std::function<void(const Stuck&)> stuck;
  const Clock::duration looks;
  std::uint64_t turns = 0;  ///< the turns of all threads at the last look
  log::Limit stalls{stalls_every};
  std::vector<Stalls> threads;
  std::thread thread;  // last, as it uses the other members
};

Watchdog::Watchdog(const GroupSettings& settings, recorder::Recorder& recorder, std::vector<std::string> types,
                   std::function<void(const Stuck&)> stuck)
    : state_(std::make_unique<State>(settings, recorder, std::move(types), std::move(stuck))) {}
Watchdog::~Watchdog() = default;

}  // namespace weir::worker
