#pragma once

/// What a shard has on the CPU, for others to read while it is stuck: the keep-alive thread today, a flight recorder
/// later.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "weir/message/ids.hpp"

namespace weir::worker {

/// One writer, the shard's thread; any readers. A few relaxed stores a message.
class Running {
 public:
  using Clock = std::chrono::steady_clock;
  struct What {
    Clock::time_point since;
    std::uint32_t queue{};  ///< index into GroupSettings::queues
    SegmentNumber segment{};
    std::uint32_t index{};
  };

  void set(Clock::time_point since, std::uint32_t queue, SegmentNumber segment, std::uint32_t index) {
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    since_.store(since.time_since_epoch().count(), std::memory_order_relaxed);
    segment_.store(segment, std::memory_order_relaxed);
    place_.store(std::uint64_t{queue} << 32 | index, std::memory_order_relaxed);
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  void clear() { since_.store(0, std::memory_order_relaxed); }

  /// Nothing while no handler is on the CPU (or one changes just now).
  [[nodiscard]] std::optional<What> read() const {
    const std::uint64_t version = version_.load(std::memory_order_acquire);
    const std::int64_t since = since_.load(std::memory_order_relaxed);
    const std::uint64_t segment = segment_.load(std::memory_order_relaxed);
    const std::uint64_t place = place_.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (since == 0 || version % 2 != 0 || version != version_.load(std::memory_order_relaxed)) return std::nullopt;
    return What{Clock::time_point(Clock::duration(since)), static_cast<std::uint32_t>(place >> 32), segment,
                static_cast<std::uint32_t>(place)};
  }

 private:
  std::atomic<std::uint64_t> version_{0};
  std::atomic<std::int64_t> since_{0};
  std::atomic<std::uint64_t> segment_{0};
  std::atomic<std::uint64_t> place_{0};
};

}  // namespace weir::worker
