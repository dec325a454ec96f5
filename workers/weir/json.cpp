#include "json.hpp"

#include <iostream>

#include "weir/telemetry/characters.hpp"

namespace weir::cli {

std::string text_of(const boost::json::value& value) {
  const std::string written = boost::json::serialize(value);
  std::string text;
  text.reserve(written.size());
  // Boost.JSON does not check a string's bytes. Bytes beyond ASCII can only be in a string.
  for (std::string_view rest = written; !rest.empty();) {
    const log::Character character = log::first_character(rest);
    if (character.kind == log::Character::Kind::harmless) {
      text += rest.substr(0, character.length);
    } else {
      log::append_escaped(character, text);
    }
    rest.remove_prefix(character.length);
  }
  return text;
}

void print(const boost::json::value& value) { std::cout << text_of(value) << "\n"; }

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const log::Character character = log::first_character(bytes);
    if (character.kind == log::Character::Kind::no_utf8) return false;
    bytes.remove_prefix(character.length);
  }
  return true;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t at) {
      return at < bytes.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])) : 0U;
    };
    const std::uint32_t three = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    text += letters[three >> 18];
    text += letters[three >> 12 & 63];
    text += i + 1 < bytes.size() ? letters[three >> 6 & 63] : '=';
    text += i + 2 < bytes.size() ? letters[three & 63] : '=';
  }
  return text;
}

}  // namespace weir::cli
