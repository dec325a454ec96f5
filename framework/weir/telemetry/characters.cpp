#include "weir/telemetry/characters.hpp"

namespace weir::log {
namespace {

/// The number of bytes of the valid UTF-8 sequence that `text` begins with; 0 if it begins with none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xC2 ? 0
                             : first < 0xE0 ? 2
                             : first < 0xF0 ? 3
                             : first < 0xF5 ? 4
                                            : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
  if (first == 0xED && byte(1) >= 0xA0) return 0;  // surrogates
  if (first == 0xF0 && byte(1) < 0x90) return 0;   // overlong
  if (first == 0xF4 && byte(1) >= 0x90) return 0;  // above U+10FFFF
  return length;
}

Character::Kind kind_of(char32_t code) {
  if (code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x2028 || code == 0x2029) {
    return Character::Kind::control;
  }
  const bool turns = code == 0x061C || code == 0x200E || code == 0x200F || (code >= 0x202A && code <= 0x202E) ||
                     (code >= 0x2066 && code <= 0x2069);
  return turns ? Character::Kind::direction : Character::Kind::harmless;
}

}  // namespace

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const std::size_t length = utf8_length(text);
  if (length == 0) return {1, byte(0), Character::Kind::no_utf8};
  char32_t code = length == 1 ? byte(0) : byte(0) & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) code = code << 6U | (byte(i) & 0x3FU);
  return {length, code, kind_of(code)};
}

std::string harmless(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.kind == Character::Kind::harmless || (keep_lines && character.code == '\n')) {
      out += text.substr(0, character.length);
    } else {
      out += '?';
    }
    text.remove_prefix(character.length);
  }
  return out;
}

void append_escaped(const Character& character, std::string& out) {
  constexpr std::string_view digits = "0123456789abcdef";
  // No character that needs an escape is above U+FFFF.
  const char32_t code = character.kind == Character::Kind::no_utf8 ? 0xFFFD : character.code;
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += digits[code >> static_cast<unsigned>(shift) & 15U];
}

}  // namespace weir::log
