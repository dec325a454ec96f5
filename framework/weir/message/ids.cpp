#include "weir/message/ids.hpp"

#include <charconv>
#include <cstring>
#include <random>

namespace weir {

std::string print_id(std::string_view queue, SegmentNumber segment, std::uint32_t index) {
  std::array<char, 40> text{};
  char* end = std::to_chars(text.data(), text.data() + text.size(), segment, 16).ptr;
  *end++ = '.';
  end = std::to_chars(end, text.data() + text.size(), index).ptr;
  std::string id;
  id.reserve(queue.size() + 1 + static_cast<std::size_t>(end - text.data()));
  id.append(queue).append("/").append(text.data(), end);
  return id;
}

std::optional<ParsedId> parse_id(std::string_view text) {
  ParsedId id;
  if (const auto slash = text.rfind('/'); slash != std::string_view::npos) {
    id.queue = text.substr(0, slash);
    text.remove_prefix(slash + 1);
  }
  const char* end = text.data() + text.size();
  const auto segment = std::from_chars(text.data(), end, id.segment, 16);
  if (segment.ec != std::errc{} || segment.ptr == end || *segment.ptr != '.') return std::nullopt;
  const auto index = std::from_chars(segment.ptr + 1, end, id.index);
  if (index.ec != std::errc{} || index.ptr != end) return std::nullopt;
  return id;
}

std::array<unsigned char, 16> random_bits() {
  std::array<unsigned char, 16> bits{};
  std::random_device random;
  for (std::size_t at = 0; at < bits.size(); at += sizeof(std::uint32_t)) {
    const std::uint32_t word = random();
    std::memcpy(bits.data() + at, &word, sizeof word);
  }
  return bits;
}

}  // namespace weir
