#include "weir/protocol/bounds.hpp"

#include "weir/protocol/fields.hpp"

namespace weir::protocol {
namespace {

/// Which fields of a message are messages themselves. A field that is not listed has no parts that matter.
struct Shape {
  struct Part {
    std::uint64_t number;
    const Shape* shape;
  };
  Part parts[2];
  std::uint32_t fields_most = messages_head_fields_most;  // of a frame's body
};
constexpr Shape plain{};
constexpr Shape group{{{5, &plain}, {}}};            // index
constexpr Shape publish{{{2, &group}, {}}};          // groups
constexpr Shape settle{{{1, &plain}, {2, &group}}};  // runs, outputs
constexpr Shape started{{{5, &plain}, {}}};          // attempt
constexpr Shape death{{{4, &started}, {}}, death_head_fields_most};
constexpr std::uint64_t publish_number = v1::Frame::kPublishFieldNumber;
constexpr std::uint64_t settle_number = v1::Frame::kSettleFieldNumber;
constexpr std::uint64_t death_number = v1::Frame::kDeathFieldNumber;

const Shape* shape_of_large(std::uint64_t number) {
  switch (number) {
    case publish_number:
      return &publish;
    case settle_number:
      return &settle;
    case death_number:
      return &death;
    default:
      return nullptr;
  }
}

/// The name of the body in this project's words. Of several bodies in `head`, Protobuf takes the last.
std::string name_of(std::uint64_t number) {
  switch (number) {
    case publish_number:
      return "PUBLISH";
    case settle_number:
      return "SETTLE";
    case death_number:
      return "DEATH";
    case v1::Frame::kHelloFieldNumber:
      return "HELLO";
    case v1::Frame::kInterestFieldNumber:
      return "INTEREST";
    case v1::Frame::kKeepAliveFieldNumber:
      return "KEEP_ALIVE";
    case v1::Frame::kControlFieldNumber:
      return "CONTROL";
    default:
      return "frame";
  }
}

/// Counts the fields of `bytes` and of its parts down from `left`; a part counts twice. False if there are more, or if
/// they are not Protobuf (then parsing says so).
bool within(std::string_view bytes, const Shape& shape, std::uint32_t& left) {
  for (std::size_t at = 0; at < bytes.size();) {
    Field field;
    if (left-- == 0 || !read_field(bytes, at, field)) return false;
    for (const auto& part : shape.parts) {
      if (part.shape == nullptr || field.number() != part.number || !field.has_length()) continue;
      if (left-- == 0 || !within(field.value, *part.shape, left)) return false;
    }
  }
  return true;
}

ProtocolError too_large(std::uint64_t number, const std::string& has, const std::string& most) {
  return {v1::Error::TOO_LARGE, name_of(number) + ": beside its messages it has " + has + "; at most " + most +
                                    ": say it in several frames, or leave it out"};
}

}  // namespace

Result<std::string_view> decode_bounded(std::string_view bytes, v1::Frame& head) {
  const auto split = split_frame(bytes);
  if (split.has_error()) return split.error();
  if (split->head.size() > head_bytes_most) {
    std::uint64_t number = 0;
    std::string_view body;
    Field field;
    for (std::size_t at = 0; at < split->head.size() && read_field(split->head, at, field);) {
      if (!field.has_length()) continue;
      // Only one body may be large: of several, Protobuf takes the last, and the others' bytes are wasted.
      number = number == 0 ? field.number() : 0;
      body = field.value;
    }
    const Shape* const large = shape_of_large(number);
    const std::size_t most = large != nullptr ? messages_head_bytes_most : head_bytes_most;
    if (split->head.size() > most) {
      return too_large(number, std::to_string(split->head.size()) + " bytes", std::to_string(most));
    }
    std::uint32_t left = large->fields_most;  // a frame that may not be large is too large by now
    if (!within(body, *large, left)) {
      return too_large(number, "more fields than parse at once", std::to_string(large->fields_most));
    }
  }
  return parse_frame(bytes.size(), *split, head);
}

}  // namespace weir::protocol
