#include "weir/protocol/frame.hpp"

#include <google/protobuf/io/coded_stream.h>

#include <boost/throw_exception.hpp>
#include <cstring>
#include <stdexcept>

#include "weir/protocol/fields.hpp"
#include "weir/protocol/names.hpp"

namespace weir::protocol {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

/// Tag of field 15, length-delimited: `run` of a frame, `payload` of a Body.
constexpr unsigned char last_field_tag = (15 << 3) | 2;

/// A frame has a number, a body and a run, and may have a few fields of a later version.
constexpr unsigned frame_fields_most = 64;

/// Splits encoded bytes before their field 15, which must then be the last. False if they are not Protobuf, or have
/// more fields than `fields_most`.
bool split_last_field(std::string_view bytes, std::string_view& head, std::string_view& last,
                      unsigned fields_most = ~0U) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t field_at = at;
    Field field;
    if (fields_most-- == 0 || !read_field(bytes, at, field)) return false;
    if (field.tag == last_field_tag) {
      if (at != bytes.size()) return false;
      head = bytes.substr(0, field_at);
      last = field.value;
      return true;
    }
  }
  head = bytes;
  last = {};
  return true;
}

inline void append_tag(std::size_t payload_bytes, std::string& run) {
  run.push_back(static_cast<char>(last_field_tag));
  std::uint8_t length[10];
  const auto* end = CodedOutputStream::WriteVarint64ToArray(payload_bytes, length);
  run.append(reinterpret_cast<const char*>(length), static_cast<std::size_t>(end - length));
}

ProtocolError malformed(std::string message) { return {v1::Error::MALFORMED, std::move(message)}; }

}  // namespace

void throw_exception_from_error(const ProtocolError& error, const boost::source_location&) {
  throw std::runtime_error(error.message);
}

Result<FrameParts> split_frame(std::string_view bytes) {
  FrameParts parts;
  if (!split_last_field(bytes, parts.head, parts.run, frame_fields_most)) {
    return malformed("frame of " + std::to_string(bytes.size()) + " bytes is not a weir.v1.Frame with `run` last");
  }
  return parts;
}

Result<std::string_view> parse_frame(std::size_t frame_bytes, const FrameParts& parts, v1::Frame& head) {
  if (!head.ParseFromArray(parts.head.data(), static_cast<int>(parts.head.size()))) {
    return malformed("frame of " + std::to_string(frame_bytes) + " bytes: its head does not parse as weir.v1.Frame");
  }
  return parts.run;
}

Result<std::string_view> decode(std::string_view bytes, v1::Frame& head) {
  const auto parts = split_frame(bytes);
  if (parts.has_error()) return parts.error();
  return parse_frame(bytes.size(), *parts, head);
}

std::size_t encoded_size(const v1::Frame& head, std::size_t run_bytes) {
  const std::size_t size = head.ByteSizeLong();
  if (run_bytes == 0) return size;
  return size + 1 + CodedOutputStream::VarintSize64(run_bytes) + run_bytes;
}

char* encode_head(const v1::Frame& head, std::size_t run_bytes, char* out) {
  auto* at = head.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out));
  if (run_bytes > 0) {
    *at++ = last_field_tag;
    at = CodedOutputStream::WriteVarint64ToArray(run_bytes, at);
  }
  return reinterpret_cast<char*>(at);
}

std::string encode(const v1::Frame& head, std::string_view run) {
  std::string bytes(encoded_size(head, run.size()), '\0');
  char* at = encode_head(head, run.size(), bytes.data());
  if (!run.empty()) std::memcpy(at, run.data(), run.size());
  return bytes;
}

Result<std::string_view> decode(std::string_view bytes, v1::Index& index, std::int64_t& published_at_us) {
  std::string_view before;
  std::string_view run;
  if (!split_last_field(bytes, before, run)) return malformed("stored segment is not a weir.v1.Segment");
  // The index is the first field. It is parsed alone, so that it can be a reused object.
  CodedInputStream in(reinterpret_cast<const std::uint8_t*>(before.data()), static_cast<int>(before.size()));
  index.Clear();
  published_at_us = 0;
  while (const std::uint32_t tag = in.ReadTag()) {
    if (tag == ((1 << 3) | 2)) {
      std::uint32_t length = 0;
      if (!in.ReadVarint32(&length)) return malformed("stored segment is cut off");
      const auto limit = in.PushLimit(static_cast<int>(length));
      if (!index.MergeFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
        return malformed("stored segment: its index does not parse");
      }
      in.PopLimit(limit);
    } else if (tag == (2 << 3)) {
      std::uint64_t value = 0;
      if (!in.ReadVarint64(&value)) return malformed("stored segment is cut off");
      published_at_us = static_cast<std::int64_t>(value);
    } else {
      return malformed("stored segment: unknown field " + std::to_string(tag >> 3));
    }
  }
  // Code that reads the segment goes by its columns: a damaged store must not lead beyond their ends.
  if (const auto checked = check(index, run.size(), Bytes{~std::uint32_t{0}}); checked.has_error()) {
    return malformed("stored segment: " + checked.error().message);
  }
  if (const auto named = check_names(index); named.has_error()) {
    return malformed("stored segment: " + named.error().message);
  }
  return run;
}

Result<BodyView> decode_body(std::string_view body) {
  BodyView view;
  if (!split_last_field(body, view.headers, view.payload)) {
    return malformed("message of " + std::to_string(body.size()) + " bytes is not a weir.v1.Body");
  }
  return view;
}

void append_body(std::string_view payload, std::string& run) { append_body({}, payload, run); }

void append_body(std::string_view encoded_headers, std::string_view payload, std::string& run) {
  run.append(encoded_headers);
  append_tag(payload.size(), run);
  run.append(payload);
}

void append_payload_tag(std::size_t payload_bytes, std::string& run) { append_tag(payload_bytes, run); }

bool admits(const Load& window, const Load& outstanding, Bytes size) noexcept {
  if (window.messages.value == 0) return false;
  if (outstanding.messages.value == 0) return true;
  return outstanding.messages < window.messages && outstanding.bytes + size <= window.bytes;
}

}  // namespace weir::protocol
