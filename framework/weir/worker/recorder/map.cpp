#include "weir/worker/recorder/map.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace weir::worker::recorder {
namespace {

/// Takes a hexadecimal number, and the `end` that follows it, off `text`.
std::optional<std::uint64_t> take_hex(std::string_view& text, char end) {
  std::uint64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || at == text.data() + text.size() || *at != end) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(at - text.data()) + 1);
  return value;
}

}  // namespace

// 7f12a000-7f12b000 r-xp 00001000 08:01 1234    /usr/lib/libc.so.6
MemoryMap::MemoryMap(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    const auto begin = take_hex(line, '-');
    if (!begin) continue;
    const auto end = take_hex(line, ' ');
    const std::size_t path = line.find('/');
    if (!end || *end <= *begin || line.size() < 5 || path == std::string_view::npos) continue;
    line.remove_prefix(5);  // the rights
    const auto offset = take_hex(line, ' ');
    if (!offset) continue;
    std::string file(line.substr(std::min(line.find('/'), line.size())));
    // A file's first mapping is its beginning. Later ones have higher addresses.
    const bool follows = !ranges_.empty() && ranges_.back().file == file && *offset != 0;
    const std::uint64_t base = follows ? ranges_.back().base : *begin - *offset;
    ranges_.push_back({*begin, *end, base, std::move(file)});
  }
  std::ranges::sort(ranges_, {}, &Range::begin);
}

std::optional<InFile> MemoryMap::find(std::uint64_t address) const {
  const auto after = std::ranges::upper_bound(ranges_, address, {}, &Range::begin);
  if (after == ranges_.begin()) return std::nullopt;
  const Range& range = *std::prev(after);
  if (address >= range.end) return std::nullopt;
  return InFile{range.file, address - range.base};
}

}  // namespace weir::worker::recorder
