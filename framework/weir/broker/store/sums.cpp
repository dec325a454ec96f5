#include "weir/broker/store/sums.hpp"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>
#include <boost/endian/conversion.hpp>

namespace weir::broker::sums {
namespace {

/// Little-endian on every machine: a store may be carried to another one.
char* append(std::uint32_t number, char* out) {
  boost::endian::store_little_u32(reinterpret_cast<unsigned char*>(out), number);
  return out + 4;
}

std::uint32_t number_at(std::string_view bytes, std::size_t at) {
  return boost::endian::load_little_u32(reinterpret_cast<const unsigned char*>(bytes.data() + at));
}

/// The head's sum also covers the number that says where the payload begins.
std::uint32_t head_sum(std::string_view key, std::string_view head, std::string_view begins) {
  // A call costs as much as the sum of 100 bytes, so the parts of a small head are put together first.
  std::array<char, 512> together;
  const std::size_t size = key.size() + begins.size() + head.size();
  if (size <= together.size()) {
    char* out = together.data();
    for (const std::string_view part : {key, begins, head}) out = std::copy(part.begin(), part.end(), out);
    return Sum({together.data(), size}).value();
  }
  Sum sum(key);
  sum.add(begins);
  sum.add(head);
  return sum.value();
}

}  // namespace

void Sum::add(std::string_view bytes) {
  // The function takes mutable bytes, and changes none. A value is at most 128 MiB.
  auto* at = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  if (!bytes.empty()) state_ = crc32_iscsi(at, static_cast<int>(bytes.size()), state_);
}

void seal(std::string_view key, char* value, std::size_t size) {
  Sum sum(key);
  sum.add({value, size});
  append(sum.value(), value + size);
}

char* seal_split(std::string_view key, std::string_view head, const Sum& payload, char* out) {
  char* const begins = out;
  out = append(static_cast<std::uint32_t>(head.size()), out);
  out = append(head_sum(key, head, {begins, 4}), out);
  return append(payload.value(), out);
}

std::optional<std::string_view> open(std::string_view key, std::string_view stored) {
  if (stored.size() < plain_bytes) return std::nullopt;
  const std::string_view value = stored.substr(0, stored.size() - plain_bytes);
  Sum sum(key);
  sum.add(value);
  if (sum.value() != number_at(stored, value.size())) return std::nullopt;
  return value;
}

std::optional<Split> open_head(std::string_view key, std::string_view stored) {
  if (stored.size() < split_bytes) return std::nullopt;
  const std::string_view value = stored.substr(0, stored.size() - split_bytes);
  const std::uint32_t begins = number_at(stored, value.size());
  if (begins > value.size()) return std::nullopt;
  const Split split{value, value.substr(0, begins)};
  if (head_sum(key, split.head, stored.substr(value.size(), 4)) != number_at(stored, value.size() + 4)) {
    return std::nullopt;
  }
  return split;
}

std::optional<Split> open_split(std::string_view key, std::string_view stored) {
  const auto split = open_head(key, stored);
  if (!split || !is_payload(key, split->value, split->value.substr(split->head.size()))) return std::nullopt;
  return split;
}

bool is_payload(std::string_view key, std::string_view value, std::string_view payload) {
  Sum sum(key);
  sum.add(payload);
  return sum.value() == number_at({value.data() + value.size(), split_bytes}, 8);
}

}  // namespace weir::broker::sums
