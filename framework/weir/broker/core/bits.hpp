#pragma once

/// A bitmap over the messages of one segment.

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "weir/protocol/frame.hpp"

namespace weir::broker::core {

/// 256 bits, one per message; low bit first, as in the store.
class Bits {
 public:
  static constexpr std::uint32_t size = protocol::segment_messages_most;

  [[nodiscard]] bool test(std::uint32_t i) const { return ((words_[i / 64] >> (i % 64)) & 1) != 0; }
  void set(std::uint32_t i) { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
  void clear(std::uint32_t i) { words_[i / 64] &= ~(std::uint64_t{1} << (i % 64)); }

  /// Sets or clears [first, last).
  void set(std::uint32_t first, std::uint32_t last) {
    for_words(first, last, [](std::uint64_t& word, std::uint64_t mask) { word |= mask; });
  }
  void clear(std::uint32_t first, std::uint32_t last) {
    for_words(first, last, [](std::uint64_t& word, std::uint64_t mask) { word &= ~mask; });
  }

  /// The first set (or clear) bit at or after `from`; `size` if there is none.
  [[nodiscard]] std::uint32_t next_set(std::uint32_t from) const { return next(from, 0); }
  [[nodiscard]] std::uint32_t next_clear(std::uint32_t from) const { return next(from, ~std::uint64_t{0}); }

  [[nodiscard]] std::uint32_t count() const {
    int n = 0;
    for (const auto word : words_) n += std::popcount(word);
    return static_cast<std::uint32_t>(n);
  }

  /// As stored: ceil(n / 8) bytes.
  [[nodiscard]] std::string bytes(std::uint32_t n) const {
    std::string text((n + 7) / 8, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(words_[i / 8] >> (8 * (i % 8)));
    return text;
  }
  [[nodiscard]] static Bits from(std::string_view bytes) {
    Bits bits;
    for (std::size_t i = 0; i < bytes.size() && i < size / 8; ++i) {
      bits.words_[i / 8] |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * (i % 8));
    }
    return bits;
  }

 private:
  [[nodiscard]] std::uint32_t next(std::uint32_t from, std::uint64_t flip) const {
    while (from < size) {
      const std::uint64_t word = (words_[from / 64] ^ flip) >> (from % 64);
      if (word != 0) return from + static_cast<std::uint32_t>(std::countr_zero(word));
      from = (from / 64 + 1) * 64;
    }
    return size;
  }

  template <class Apply>
  void for_words(std::uint32_t first, std::uint32_t last, Apply apply) {
    while (first < last) {
      const std::uint32_t end = std::min(last, (first / 64 + 1) * 64);
      const std::uint32_t n = end - first;
      const std::uint64_t mask = (n == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1) << (first % 64);
      apply(words_[first / 64], mask);
      first = end;
    }
  }

  std::array<std::uint64_t, size / 64> words_{};
};

}  // namespace weir::broker::core
