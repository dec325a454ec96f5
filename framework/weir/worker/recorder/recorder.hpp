#pragma once

/// The flight recorder of a worker process: which thread runs which message, in memory that outlives the process.
///
/// A MAP_SHARED page takes a relaxed store in 0.3 ns, and keeps it through SIGSEGV, abort, stack overflow, _exit and
/// SIGKILL. The parent makes the file (without a name: memfd). The child lays it out and writes. Once the child is
/// dead, the reporter reads it (record.hpp) and decides which message is to blame (blame.hpp).
///
/// Thread: each line has one writer, its shard's or the pool's thread. Any thread may read meanwhile.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/worker/recorder/bell.hpp"
#include "weir/worker/recorder/layout.hpp"

namespace weir::worker::recorder {

/// The number of threads of offload that have lines. async/offload.cpp starts no more.
inline constexpr std::uint32_t pool_lines = 8;

/// A delivery whose handler starts.
struct Starts {
  std::uint32_t queue{};  ///< index into the recorder's names of queues
  std::uint64_t segment{};
  std::uint32_t index{};
  std::uint32_t attempt{};
  std::uint32_t handler{};
  std::chrono::steady_clock::time_point started;
  std::chrono::steady_clock::time_point deadline;
};

/// The delivery that a thread has on the CPU.
struct OnCpu {
  std::uint64_t running{};  ///< a new number at each entry
  std::chrono::steady_clock::time_point since;
  std::uint32_t slot{};  ///< its number in the process
  std::uint64_t slot_state{};
  Starts what;
};

class Recorder {
 public:
  using Clock = std::chrono::steady_clock;

  struct Size {
    std::uint32_t shards{};
    std::uint32_t slots{};  ///< per shard
    std::vector<std::string> queues;
  };

  /// Uses `file`, which it keeps mapped and closes, or, without one, this process's own memory.
  /// Throws: Error if there is no room for it.
  explicit Recorder(const Size& size, std::optional<int> file = {});
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  ~Recorder();

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] ThreadLine& shard(std::uint32_t index) { return threads_[index]; }
  [[nodiscard]] ThreadLine& pool(std::uint32_t index) { return threads_[shape_.shards + index]; }
  [[nodiscard]] ThreadLine& others() { return threads_[shape_.shards + shape_.pool]; }
  [[nodiscard]] std::span<ThreadLine> threads() { return {threads_, shape_.threads()}; }
  [[nodiscard]] SlotLine& slot(std::uint32_t number) { return slots_[number]; }
  [[nodiscard]] EndedRing& ended(std::uint32_t shard) { return ended_[shard]; }

  void starts(std::uint32_t slot, const Starts& what) {
    SlotLine& line = slots_[slot];
    // Between the two stores, and since the end of the delivery before, the line has no delivery. So a reader sees at
    // any instant a whole delivery or none. (The fence orders the stores. On x86-64 it costs nothing.)
    const std::uint64_t state = line.state.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    line.segment.store(what.segment, std::memory_order_relaxed);
    line.place.store(std::uint64_t{what.queue} << 32 | what.index, std::memory_order_relaxed);
    line.handler.store(std::uint64_t{what.attempt} << 32 | what.handler, std::memory_order_relaxed);
    line.started.store(what.started.time_since_epoch().count(), std::memory_order_relaxed);
    line.deadline.store(what.deadline.time_since_epoch().count(), std::memory_order_relaxed);
    line.memory.store(header_->memory.load(std::memory_order_relaxed), std::memory_order_relaxed);
    line.state.store(state + 1, std::memory_order_release);
  }
  /// `ring` is that of the slot's shard.
  void ends(std::uint32_t slot, EndedRing& ring) {
    SlotLine& line = slots_[slot];
    // Written first, so that at each instant the delivery is in the ring or in its line.
    const std::uint64_t number = ring.next.load(std::memory_order_relaxed);
    auto& ended = ring.ended[number % ended_most];
    ended.segment.store(line.segment.load(std::memory_order_relaxed), std::memory_order_relaxed);
    ended.place.store(line.place.load(std::memory_order_relaxed), std::memory_order_relaxed);
    ring.next.store(number + 1, std::memory_order_release);
    line.state.store(line.state.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  /// The thread runs the slot's code from `since` on.
  void enter(ThreadLine& line, std::uint32_t slot, Clock::time_point since) {
    const std::uint64_t entry = (line.running.load(std::memory_order_relaxed) >> 32) + 1;
    line.since.store(since.time_since_epoch().count(), std::memory_order_relaxed);
    line.running.store(entry << 32 | (slot + 1), std::memory_order_release);
    bell_.ring();
  }
  /// The thread runs no slot's code. The entry's number stays.
  static void leave(ThreadLine& line) {
    line.running.store(line.running.load(std::memory_order_relaxed) & ~std::uint64_t{UINT32_MAX},
                       std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
  }
  /// Rings at an entry.
  [[nodiscard]] Bell& bell() { return bell_; }
  /// Returns nothing while no handler is on the CPU, or while it changes.
  [[nodiscard]] std::optional<OnCpu> on_cpu(const ThreadLine& line) const;
  /// Returns nothing unless the slot's handler has started and not ended.
  [[nodiscard]] std::optional<std::pair<std::uint64_t, Starts>> started(std::uint32_t slot) const;

  /// True if a handler of the shard was marked as stuck, and has not ended since.
  [[nodiscard]] bool is_stuck(std::uint32_t shard);

  /// The keep-alive thread has run, and knows this session timeout.
  void beat(std::chrono::microseconds session_timeout) {
    header_->life.session_timeout.store(session_timeout.count(), std::memory_order_relaxed);
    header_->life.beats.fetch_add(1, std::memory_order_relaxed);
  }
  /// From here on the process ends by Weir's own code.
  void ending() { header_->ending.store(1, std::memory_order_relaxed); }
  [[nodiscard]] bool is_ending() const { return header_->ending.load(std::memory_order_relaxed) != 0; }
  /// Notes the process's memory and the clocks. Called from time to time. Safe in a signal handler.
  void sample();
  [[nodiscard]] std::uint64_t memory() const { return header_->memory.load(std::memory_order_relaxed); }
  /// Adds a line to the last lines of log.
  void log(std::string_view line);
  /// Copies /proc/self/maps once. If another thread is copying it, waits for that, at most 100 ms. Safe in a signal
  /// handler.
  void save_map();

 private:
  Shape shape_;
  char* memory_ = nullptr;
  std::size_t bytes_ = 0;
  Header* header_ = nullptr;
  LogLine* log_ = nullptr;
  ThreadLine* threads_ = nullptr;
  SlotLine* slots_ = nullptr;
  EndedRing* ended_ = nullptr;
  Bell bell_;
  std::atomic<bool> map_begun_{false};
  std::atomic<bool> map_saved_{false};
};

/// Returns the process's resident memory now, in bytes; 0 if it is unknown. Safe in a signal handler.
[[nodiscard]] std::uint64_t resident_bytes();

/// Makes a file without a name for a recorder. It is closed at exec, and its descriptor is `least` or above. Throws:
/// Error.
[[nodiscard]] int make_file(int least);

}  // namespace weir::worker::recorder
