#pragma once

/// The layout of the flight recorder's memory, which is its file.
///
/// A header, the last lines of log, one line per thread (shards, threads of offload, and one for all others), one line
/// per slot, the deliveries that ended last in each shard, the queues' names, and room for the process's map of memory.
/// All numbers are little-endian and lock-free. The reader after a death uses the same structs with plain fields
/// (record.cpp), and trusts none of them.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weir::worker::recorder {

inline constexpr std::uint64_t magic = 0x5448474952494557;  // "WEIRIGHT": little-endian
/// Raised with every change of the layout below. Writer and reader are the same program, except during an upgrade.
inline constexpr std::uint32_t version = 3;

inline constexpr std::size_t header_bytes = 4096;
inline constexpr std::size_t log_lines = 16;
inline constexpr std::size_t log_line_bytes = 512;
inline constexpr std::size_t frames_most = 64;
/// The number of ended deliveries that are kept per shard.
inline constexpr std::size_t ended_most = 256;
inline constexpr std::size_t map_bytes_most = 256 * 1024;
inline constexpr std::size_t names_bytes_most = 1024 * 1024;
/// Each is above Weir's own limit (1,024 shards, 65,536 window.messages per shard): a file with more is no recorder.
inline constexpr std::uint32_t threads_most = 4096;
inline constexpr std::uint32_t slots_most = 1 << 20;

template <class T>
using Plain = T;
template <class T>
using Shared = std::atomic<T>;

enum class MarkKind : std::uint32_t { none = 0, writing = 1, signal = 2, stuck = 3, exited = 4 };

/// The facts about a thread that ends its process. `kind` is written last.
template <template <class> class Cell>
struct MarkOf {
  Cell<std::uint32_t> kind;
  Cell<std::int32_t> signal;
  Cell<std::int32_t> code;    ///< siginfo's; for a stuck thread, 1: it waits in a call
  Cell<std::int32_t> sender;  ///< the process that sent it, if not this one; -1: one of another namespace
  Cell<std::uint64_t> address;
  Cell<std::int64_t> at;           ///< steady clock, ns
  Cell<std::uint64_t> running;     ///< ThreadLine::running at that moment
  Cell<std::uint64_t> slot_state;  ///< SlotLine::state at that moment
  Cell<std::uint32_t> frame_count;
  Cell<std::uint32_t> unused;
  std::array<Cell<std::uint64_t>, frames_most> frames;  ///< innermost first; the first is the program counter
};

/// The slot whose code a thread runs.
template <template <class> class Cell>
struct alignas(64) ThreadLineOf {
  /// 0: no slot's. Else the slot's number + 1 in the low half. The high half changes with each entry.
  Cell<std::uint64_t> running;
  Cell<std::int64_t> since;   ///< steady clock, ns
  Cell<std::int32_t> thread;  ///< its id; 0: there is no thread
  Cell<std::uint32_t> unused;
  MarkOf<Cell> mark;
};

/// The delivery of a slot, in one cache line.
template <template <class> class Cell>
struct alignas(64) SlotLineOf {
  Cell<std::uint64_t> state;  ///< odd: its handler has started and not ended; a new odd number each time
  Cell<std::uint64_t> segment;
  Cell<std::uint64_t> place;    ///< queue's number << 32 | index
  Cell<std::uint64_t> handler;  ///< attempt << 32 | the handler's number in its shard
  Cell<std::int64_t> started;   ///< steady clock, ns
  Cell<std::int64_t> deadline;
  Cell<std::uint64_t> memory;  ///< the process's when the handler started; bytes
};

/// The place of a delivery whose handler has ended.
template <template <class> class Cell>
struct EndedOf {
  Cell<std::uint64_t> segment;
  Cell<std::uint64_t> place;  ///< as in SlotLine
};

/// The deliveries of a shard that ended last.
template <template <class> class Cell>
struct alignas(64) EndedRingOf {
  Cell<std::uint64_t> next;  ///< how many have ended in all; written last
  std::array<EndedOf<Cell>, ended_most> ended;
};

template <template <class> class Cell>
struct LogLineOf {
  Cell<std::uint64_t> number;  ///< counts from 1; 0: empty, or being written
  Cell<std::uint32_t> size;
  std::array<Cell<char>, log_line_bytes - 12> text;  ///< two threads may write to the same line, a whole round apart
};

/// The parent sees by this that the process lives. The keep-alive thread writes it.
template <template <class> class Cell>
struct LifeOf {
  Cell<std::uint64_t> beats;
  Cell<std::int64_t> session_timeout;  ///< the broker's last value; µs
};

template <template <class> class Cell>
struct HeaderOf {
  Cell<std::uint64_t> magic;  ///< written last
  Cell<std::uint32_t> version;
  Cell<std::uint32_t> shards;
  Cell<std::uint32_t> slots;  ///< per shard
  Cell<std::uint32_t> pool;   ///< the most threads of offload
  Cell<std::uint32_t> names_bytes;
  Cell<std::uint32_t> map_bytes;  ///< bytes written so far
  Cell<std::uint32_t> ending;     ///< 1: the process ends by Weir's own code, not by a handler's
  Cell<std::uint32_t> unused;
  Cell<std::int64_t> wall_minus_steady;  ///< ns
  Cell<std::uint64_t> memory_at_start;   ///< bytes
  Cell<std::uint64_t> memory;            ///< at the last look
  Cell<std::uint64_t> log_next;
  LifeOf<Cell> life;
};

using Header = HeaderOf<Shared>;
using ThreadLine = ThreadLineOf<Shared>;
using SlotLine = SlotLineOf<Shared>;
using EndedRing = EndedRingOf<Shared>;
using LogLine = LogLineOf<Shared>;
using Mark = MarkOf<Shared>;

static_assert(sizeof(Header) == sizeof(HeaderOf<Plain>) && sizeof(Header) <= header_bytes);
static_assert(sizeof(ThreadLine) == sizeof(ThreadLineOf<Plain>) && sizeof(SlotLine) == sizeof(SlotLineOf<Plain>));
static_assert(sizeof(EndedRing) == sizeof(EndedRingOf<Plain>));
static_assert(sizeof(LogLine) == sizeof(LogLineOf<Plain>) && sizeof(SlotLine) == 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

/// The numbers of lines, and so the place of each part.
struct Shape {
  std::uint32_t shards{};
  std::uint32_t slots{};  ///< per shard
  std::uint32_t pool{};
  std::uint32_t names_bytes{};

  [[nodiscard]] bool is_sane() const {
    return shards < threads_most && pool < threads_most && slots <= slots_most && names_bytes <= names_bytes_most &&
           std::uint64_t{shards} * slots <= slots_most;
  }
  /// The lines of the shards, then the pool's, then one for all other threads.
  [[nodiscard]] std::size_t threads() const { return std::size_t{shards} + pool + 1; }
  [[nodiscard]] std::size_t all_slots() const { return std::size_t{shards} * slots; }
  [[nodiscard]] std::size_t log_at() const { return header_bytes; }
  [[nodiscard]] std::size_t threads_at() const { return log_at() + log_lines * sizeof(LogLine); }
  [[nodiscard]] std::size_t slots_at() const { return threads_at() + threads() * sizeof(ThreadLine); }
  [[nodiscard]] std::size_t ended_at() const { return slots_at() + all_slots() * sizeof(SlotLine); }
  [[nodiscard]] std::size_t names_at() const { return ended_at() + shards * sizeof(EndedRing); }
  [[nodiscard]] std::size_t map_at() const { return names_at() + (std::size_t{names_bytes} + 63) / 64 * 64; }
  [[nodiscard]] std::size_t bytes() const { return map_at() + map_bytes_most; }
};

}  // namespace weir::worker::recorder
