#pragma once

/// Numbers from a seed. Every actor has its own stream, so that taking one actor's fault away changes nobody else's
/// dice.

#include <cstddef>
#include <cstdint>
#include <span>

namespace weir::simulation {

/// splitmix64: eight bytes of state, any seed is a good one.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  /// The stream of part `salt` of `seed`.
  Random(std::uint64_t seed, std::uint64_t salt) : state_(seed) { state_ = next() ^ (salt * 0x9e3779b97f4a7c15ULL); }

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// [0, n); 0 for n = 0.
  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : next() % n; }
  /// [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool percent(unsigned chance) { return below(100) < chance; }
  /// An index, as likely as its weight; the sum must not be 0.
  std::size_t weighted(std::span<const unsigned> weights) {
    std::uint64_t sum = 0;
    for (const unsigned weight : weights) sum += weight;
    std::uint64_t at = below(sum);
    std::size_t i = 0;
    while (at >= weights[i]) at -= weights[i++];
    return i;
  }

 private:
  std::uint64_t state_;
};

}  // namespace weir::simulation
