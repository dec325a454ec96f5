#pragma once

/// Names for program counters, as far as the binaries have them.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "weir/worker/recorder/map.hpp"

namespace weir::worker::recorder {

/// Returns one text per frame: `shop::charge(shop::Order const&) in shop.so`, or `libc.so.6+0x8a2f1`.
///
/// The frames may come from this process, or from a dead one of the same binaries. The binaries are read each time (1
/// ms), so do not call it in a signal handler. The first frame is the program counter, the others are return addresses.
/// Thread: any.
[[nodiscard]] std::vector<std::string> names_of(const MemoryMap& map, std::span<const std::uint64_t> frames);

/// Returns a stack for people: at most 32 frames, each name cut at `name_bytes_most`, and a function that calls itself
/// only once. A '?' replaces all but printable ASCII.
[[nodiscard]] std::vector<std::string> readable_stack(std::vector<std::string> names, std::size_t name_bytes_most);

/// Returns this process's own map.
[[nodiscard]] MemoryMap own_map();

}  // namespace weir::worker::recorder
