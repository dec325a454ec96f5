#include "weir/worker/recorder/record.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <set>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::worker::recorder {
namespace {

/// The most bytes of log that one history gets. More would not help the reader.
constexpr std::size_t log_bytes_most = 8 * 1024;

/// Returns the struct at `at`; nothing beyond the end.
template <class T>
std::optional<T> copy_at(std::span<const std::byte> bytes, std::size_t at) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (at > bytes.size() || bytes.size() - at < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

std::string_view text_at(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  if (at > bytes.size()) return {};
  return {reinterpret_cast<const char*>(bytes.data()) + at, std::min(size, bytes.size() - at)};
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) break;  // the last line is cut off
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

/// Returns the slot whose code a thread ran, from its `running`.
std::optional<std::uint32_t> slot_of(std::uint64_t running, const Shape& shape) {
  const auto number = static_cast<std::uint32_t>(running);
  if (number == 0 || number > shape.all_slots()) return std::nullopt;
  return number - 1;
}

std::optional<Marked> marked(const MarkOf<Plain>& mark, const Shape& shape) {
  const auto kind = static_cast<MarkKind>(mark.kind);
  // `writing` counts too: a second signal came while it was written. The facts so far hold, above all whose thread it
  // was.
  if (kind == MarkKind::none || kind > MarkKind::exited) return std::nullopt;
  Marked out{.kind = kind == MarkKind::writing ? MarkKind::signal : kind,
             .signal = mark.signal,
             .code = mark.code,
             .sender = mark.sender,
             .address = mark.address,
             .at = std::chrono::nanoseconds(mark.at),
             .slot = slot_of(mark.running, shape),
             .slot_state = mark.slot_state,
             .frames = {}};
  const std::size_t count = std::min<std::size_t>(mark.frame_count, frames_most);
  out.frames.assign(mark.frames.begin(), mark.frames.begin() + static_cast<std::ptrdiff_t>(count));
  return out;
}

/// Returns untrusted bytes as text for a history.
std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

std::vector<std::string> log_of(std::span<const std::byte> bytes, const Shape& shape) {
  std::vector<std::pair<std::uint64_t, std::string>> lines;
  for (std::size_t i = 0; i < log_lines; ++i) {
    const auto line = copy_at<LogLineOf<Plain>>(bytes, shape.log_at() + i * sizeof(LogLine));
    if (!line || line->number == 0) continue;
    lines.emplace_back(line->number,
                       printable({line->text.data(), std::min<std::size_t>(line->size, line->text.size())}));
  }
  std::ranges::sort(lines);
  std::vector<std::string> out;
  std::size_t size = 0;
  for (auto at = lines.rbegin(); at != lines.rend() && (size += at->second.size()) <= log_bytes_most; ++at) {
    out.push_back(std::move(at->second));
  }
  std::ranges::reverse(out);
  return out;
}

/// Returns the deliveries that ended last in each shard, one shard after the other in turn, as they have no times.
std::vector<EndedDelivery> ended_of(std::span<const std::byte> bytes, const Shape& shape,
                                    const std::vector<std::string_view>& names, const std::vector<Delivery>& started) {
  std::set<std::tuple<std::string_view, std::uint64_t, std::uint32_t>> seen;
  for (const Delivery& one : started) seen.insert({one.queue, one.segment, one.index});
  std::vector<EndedDelivery> out;
  for (std::uint64_t ago = 1; ago <= ended_most; ++ago) {
    for (std::uint32_t shard = 0; shard < shape.shards; ++shard) {
      const std::size_t ring = shape.ended_at() + shard * sizeof(EndedRing);
      const auto next = copy_at<std::uint64_t>(bytes, ring);
      if (!next || *next < ago) continue;
      const std::size_t at = offsetof(EndedRingOf<Plain>, ended) + (*next - ago) % ended_most * sizeof(EndedOf<Plain>);
      const auto one = copy_at<EndedOf<Plain>>(bytes, ring + at);
      if (!one || (one->place >> 32) >= names.size()) continue;
      const std::string_view queue = names[one->place >> 32];
      const auto index = static_cast<std::uint32_t>(one->place);
      if (seen.insert({queue, one->segment, index}).second) out.push_back({printable(queue), one->segment, index});
    }
  }
  return out;
}

}  // namespace

const Delivery* Record::find(std::uint32_t slot) const {
  const auto at = std::ranges::lower_bound(started, slot, {}, &Delivery::slot);
  return at == started.end() || at->slot != slot ? nullptr : &*at;
}

WallTime Record::wall(std::chrono::nanoseconds steady) const {
  // Unsigned, as numbers of a process that went wrong may overflow.
  const auto sum = static_cast<std::uint64_t>(steady.count()) + static_cast<std::uint64_t>(wall_minus_steady.count());
  return WallTime(std::chrono::duration_cast<Duration>(std::chrono::nanoseconds(static_cast<std::int64_t>(sum))));
}

std::optional<Record> read_record(std::span<const std::byte> bytes) {
  const auto header = copy_at<HeaderOf<Plain>>(bytes, 0);
  if (!header || header->magic != magic || header->version != version) return std::nullopt;
  const Shape shape{header->shards, header->slots, header->pool, header->names_bytes};
  if (!shape.is_sane() || shape.bytes() > bytes.size()) return std::nullopt;

  Record out;
  out.ending = header->ending != 0;
  out.wall_minus_steady = std::chrono::nanoseconds(header->wall_minus_steady);
  out.memory_at_start = header->memory_at_start;
  out.memory = header->memory;
  out.log = log_of(bytes, shape);
  out.map = text_at(bytes, shape.map_at(), std::min<std::size_t>(header->map_bytes, map_bytes_most));

  const std::vector<std::string_view> names = lines_of(text_at(bytes, shape.names_at(), shape.names_bytes));
  for (std::uint32_t i = 0; i < shape.all_slots(); ++i) {
    const auto line = copy_at<SlotLineOf<Plain>>(bytes, shape.slots_at() + i * sizeof(SlotLine));
    if (!line || line->state % 2 == 0) continue;
    const std::uint64_t queue = line->place >> 32;
    if (queue >= names.size()) return std::nullopt;  // overwritten: more may have begun
    out.started.push_back({.slot = i,
                           .slot_state = line->state,
                           .queue = printable(names[queue]),
                           .segment = line->segment,
                           .index = static_cast<std::uint32_t>(line->place),
                           .attempt = static_cast<std::uint32_t>(line->handler >> 32),
                           .started = std::chrono::nanoseconds(line->started),
                           .memory = line->memory});
  }
  out.ended = ended_of(bytes, shape, names, out.started);
  for (std::size_t i = 0; i < shape.threads(); ++i) {
    const auto line = copy_at<ThreadLineOf<Plain>>(bytes, shape.threads_at() + i * sizeof(ThreadLine));
    if (!line) continue;
    if (auto mark = marked(line->mark, shape)) out.marks.push_back(std::move(*mark));
    const auto slot = slot_of(line->running, shape);
    if (slot && out.find(*slot) != nullptr && std::ranges::find(out.on_cpu, *slot) == out.on_cpu.end()) {
      out.on_cpu.push_back(*slot);
    }
  }
  return out;
}

}  // namespace weir::worker::recorder
