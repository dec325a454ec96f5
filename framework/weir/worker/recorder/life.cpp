#include "weir/worker/recorder/life.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "weir/worker/recorder/layout.hpp"

namespace weir::worker::recorder {
namespace {

using namespace std::chrono_literals;

std::optional<HeaderOf<Plain>> header_of(int file) {
  std::array<std::byte, sizeof(HeaderOf<Plain>)> bytes{};
  if (pread(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return std::nullopt;
  HeaderOf<Plain> header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != magic || header.version != version) return std::nullopt;
  return header;
}

}  // namespace

std::optional<Life> read_life(int file) {
  const auto header = header_of(file);
  if (!header) return std::nullopt;
  Life life{.beats = header->life.beats, .session_timeout = {}, .ending = header->ending != 0};
  if (life.beats > 0) life.session_timeout = std::clamp<Duration>(Duration(header->life.session_timeout), 100ms, 24h);
  return life;
}

bool has_handled(int file) {
  const auto header = header_of(file);
  if (!header) return false;
  const Shape shape{header->shards, header->slots, header->pool, header->names_bytes};
  if (!shape.is_sane()) return false;
  std::array<SlotLineOf<Plain>, 256> lines{};
  for (std::size_t first = 0; first < shape.all_slots(); first += lines.size()) {
    const std::size_t count = std::min(lines.size(), shape.all_slots() - first);
    const ssize_t got = pread(file, lines.data(), count * sizeof lines[0],
                              static_cast<off_t>(shape.slots_at() + first * sizeof lines[0]));
    const auto read = static_cast<std::size_t>(std::max<ssize_t>(got, 0)) / sizeof lines[0];
    // The state is 1 once the first delivery's handler has started, and 2 once it has ended.
    if (std::any_of(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(read),
                    [](const auto& line) { return line.state >= 2; }))
      return true;
    if (read < count) return false;
  }
  return false;
}

}  // namespace weir::worker::recorder
