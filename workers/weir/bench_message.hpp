#pragma once

/// The benchmark's message: 20 digits of its sequence number, 20 digits of its publish time, `x` up to its size.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

inline constexpr std::size_t bench_digits = 20;
inline constexpr std::size_t bench_size_least = 2 * bench_digits;
inline constexpr const char* bench_type = "bench";

/// bench, bench2, bench3, …
[[nodiscard]] inline std::vector<std::string> bench_queues(std::uint32_t count) {
  std::vector<std::string> names{"bench"};
  for (std::uint32_t n = 2; n <= count; ++n) names.push_back("bench" + std::to_string(n));
  return names;
}

/// Reads CLOCK_MONOTONIC, which all processes of a machine share.
[[nodiscard]] inline std::uint64_t nanoseconds_now() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

inline void write_digits(char* to, std::uint64_t number) {
  char digits[bench_digits];
  const auto end = std::to_chars(digits, digits + bench_digits, number).ptr;
  const auto size = static_cast<std::size_t>(end - digits);
  std::memset(to, '0', bench_digits - size);
  std::memcpy(to + bench_digits - size, digits, size);
}

[[nodiscard]] inline std::optional<std::uint64_t> read_digits(const char* from) {
  std::uint64_t number{};
  const auto [end, error] = std::from_chars(from, from + bench_digits, number);
  if (error != std::errc{} || end != from + bench_digits) return std::nullopt;
  return number;
}
[[nodiscard]] inline std::optional<std::uint64_t> sequence_of(std::string_view payload) {
  return payload.size() < bench_size_least ? std::nullopt : read_digits(payload.data());
}
/// For a payload that has a sequence number.
[[nodiscard]] inline std::uint64_t published_at(std::string_view payload) {
  return read_digits(payload.data() + bench_digits).value_or(0);
}

}  // namespace weir::cli
