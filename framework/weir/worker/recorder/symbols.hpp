#pragma once

/// Names for program counters, as far as the binaries tell them.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "weir/worker/recorder/map.hpp"

namespace weir::worker::recorder {

/// One text a frame: `shop::charge(shop::Order const&) in shop.so`, or `libc.so.6+0x8a2f1`.
///
/// The process may be this one, or a dead one of the same binaries. They are read each time (1 ms): not in a signal
/// handler. The first frame is where it was; the others are return addresses. Thread: any.
[[nodiscard]] std::vector<std::string> names_of(const MemoryMap& map, std::span<const std::uint64_t> frames);

/// For people: at most 32 frames, each name cut at `name_bytes_most`, a function that calls itself told once. What is
/// no printable ASCII is a '?'.
[[nodiscard]] std::vector<std::string> readable_stack(std::vector<std::string> names, std::size_t name_bytes_most);

/// This process's own map.
[[nodiscard]] MemoryMap own_map();

}  // namespace weir::worker::recorder
