#include "weir/message/name.hpp"

#include <charconv>

namespace weir {

std::string MessageName::text() const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::array<char, 2 * 16 + 1 + 20> text{};
  char* at = text.data();
  for (const unsigned char byte : publisher.bytes) {
    *at++ = digits[byte >> 4U];
    *at++ = digits[byte & 15U];
  }
  *at++ = '.';
  at = std::to_chars(at, text.data() + text.size(), number).ptr;
  return {text.data(), at};
}

}  // namespace weir
