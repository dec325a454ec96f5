#pragma once

/// The benchmark's message: 20 digits of its sequence number, 20 digits of its publish time, `x` up to its size.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace weir::cli {

inline constexpr std::size_t bench_digits = 20;
inline constexpr std::size_t bench_size_least = 2 * bench_digits;
inline constexpr const char* bench_queue = "bench";
inline constexpr const char* bench_type = "bench";

/// CLOCK_MONOTONIC, which all processes of a machine share.
[[nodiscard]] inline std::uint64_t nanoseconds_now() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

inline void write_digits(char* to, std::uint64_t number) {
  for (std::size_t i = bench_digits; i-- > 0; number /= 10) to[i] = static_cast<char>('0' + number % 10);
}

[[nodiscard]] inline std::optional<std::uint64_t> sequence_of(std::string_view payload) {
  std::uint64_t number{};
  if (payload.size() < bench_size_least) return std::nullopt;
  const auto [end, error] = std::from_chars(payload.data(), payload.data() + bench_digits, number);
  if (error != std::errc{} || end != payload.data() + bench_digits) return std::nullopt;
  return number;
}

}  // namespace weir::cli
