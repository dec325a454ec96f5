#pragma once

/// What every target needs: an input read as a small program, and a way to say that a promise was broken.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::fuzz {

/// Something that must hold whatever the bytes are did not. Nothing catches it: libFuzzer keeps the input.
struct Broken : std::logic_error {
  using std::logic_error::logic_error;
};
inline void require(bool held, const char* what) {
  if (!held) throw Broken(what);
}

/// Bytes taken from the front. What is not there reads as 0, so that every input is a program.
class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  /// Below `n`, which is at most 256.
  std::uint32_t below(std::uint32_t n) { return byte() % n; }
  std::uint32_t number16() {
    const std::uint32_t low = byte();
    return low | std::uint32_t{byte()} << 8;
  }
  /// Mostly small, now and then of any size: a byte below 0xf0, or as many further bytes as its low half says.
  std::uint64_t number() {
    const std::uint8_t first = byte();
    if (first < 0xf0) return first;
    std::uint64_t value = 0;
    for (int i = 0; i < std::min(first & 0xf, 8); ++i) value = value << 8 | byte();
    return (first & 0xf) > 8 ? ~value : value;
  }
  /// A length in two bytes, and so many bytes, or what there is.
  std::string_view block() { return take(number16()); }
  std::string_view take(std::size_t size) {
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  std::string_view rest() { return take(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace weir::fuzz
