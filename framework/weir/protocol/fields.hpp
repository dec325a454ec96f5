#pragma once

/// Protobuf's own encoding, walked by hand, to learn something of bytes before they are parsed.

#include <cstdint>
#include <string_view>

namespace weir::protocol {

/// Reads a varint at `at`, which moves behind it; false if it is cut off or longer than 10 bytes.
inline bool read_varint(std::string_view bytes, std::size_t& at, std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/// One field of an encoded message. `value` holds the bytes of a field that bears its length, else nothing.
struct Field {
  std::uint64_t tag{};
  std::string_view value;

  [[nodiscard]] std::uint64_t number() const { return tag >> 3; }
  [[nodiscard]] bool has_length() const { return (tag & 7) == 2; }
};

/// Reads the field at `at`, which moves behind it; false if these bytes are not Protobuf.
inline bool read_field(std::string_view bytes, std::size_t& at, Field& field) {
  std::uint64_t length = 0;
  if (!read_varint(bytes, at, field.tag)) return false;
  field.value = {};
  switch (field.tag & 7) {
    case 0:
      return read_varint(bytes, at, length);
    case 1:
      length = 8;
      break;
    case 2:
      if (!read_varint(bytes, at, length)) return false;
      break;
    case 5:
      length = 4;
      break;
    default:
      return false;
  }
  if (length > bytes.size() - at) return false;
  if (field.has_length()) field.value = bytes.substr(at, length);
  at += length;
  return true;
}

}  // namespace weir::protocol
