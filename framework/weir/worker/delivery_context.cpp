#include "weir/worker/delivery_context.hpp"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "weir/engine/publishable.hpp"
#include "weir/protocol/bounds.hpp"

namespace weir::worker {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr std::uint8_t tag_1 = 0x0A;     // field 1, bytes: Body.headers, Header.name
constexpr std::uint8_t tag_2 = 0x12;     // field 2, bytes: Header.value
constexpr std::uint8_t tag_15 = 0x7A;    // field 15, bytes: Body.payload
constexpr std::size_t output_cost = 64;  // about the bytes of an output's columns in a settle frame

/// Reads a length and that many bytes, as a view. Returns false if they are not there.
bool read_bytes(CodedInputStream& in, std::string_view all, std::string_view& out) {
  std::uint32_t size = 0;
  if (!in.ReadVarint32(&size)) return false;
  const auto at = static_cast<std::size_t>(in.CurrentPosition());
  if (size > all.size() - at) return false;
  out = all.substr(at, size);
  return in.Skip(static_cast<int>(size));
}

CodedInputStream stream_of(std::string_view bytes) {
  return CodedInputStream(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
}

HeaderView header_of(std::string_view bytes) {
  HeaderView header;
  CodedInputStream in = stream_of(bytes);
  while (const std::uint32_t tag = in.ReadTag()) {
    if (tag == tag_1) {
      if (!read_bytes(in, bytes, header.name)) break;
    } else if (tag == tag_2) {
      if (!read_bytes(in, bytes, header.value)) break;
    } else if (!google::protobuf::internal::WireFormatLite::SkipField(&in, tag)) {
      break;
    }
  }
  return header;
}

void append_bytes(std::uint8_t tag, std::string_view bytes, std::string& out) {
  std::uint8_t head[11];
  head[0] = tag;
  const auto* end = CodedOutputStream::WriteVarint64ToArray(bytes.size(), head + 1);
  out.append(reinterpret_cast<const char*>(head), static_cast<std::size_t>(end - head));
  out.append(bytes);
}

/// Returns the beginning of an encoded Body: its headers.
std::string encode_headers(std::span<const HeaderView> headers) {
  std::string out;
  std::string one;
  for (const HeaderView& each : headers) {
    one.clear();
    append_bytes(tag_1, each.name, one);
    append_bytes(tag_2, each.value, one);
    append_bytes(tag_1, one, out);
  }
  return out;
}

}  // namespace

std::span<const HeaderView> DeliveryContext::headers() {
  if (headers_parsed_) return headers_;
  pin();
  headers_parsed_ = true;
  headers_.clear();
  const std::string_view bytes = body_.substr(0, headers_size_);
  CodedInputStream in = stream_of(bytes);
  while (const std::uint32_t tag = in.ReadTag()) {
    std::string_view one;
    if (tag == tag_1) {
      if (!read_bytes(in, bytes, one)) break;
      headers_.push_back(header_of(one));
    } else if (!google::protobuf::internal::WireFormatLite::SkipField(&in, tag)) {
      break;
    }
  }
  return headers_;
}

void DeliveryContext::publish(std::string_view queue, const google::protobuf::MessageLite& message,
                              const PublishOptions& options) {
  std::string body = encode_headers(options.headers.view());
  const std::size_t size = message.ByteSizeLong();
  std::uint8_t head[11];
  head[0] = tag_15;
  const auto* end = CodedOutputStream::WriteVarint64ToArray(size, head + 1);
  body.append(reinterpret_cast<const char*>(head), static_cast<std::size_t>(end - head));
  const std::size_t at = body.size();
  body.resize(at + size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(body.data() + at));
  output(queue, message.GetTypeName(), std::move(body), options);
}

void DeliveryContext::publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                                  const PublishOptions& options) {
  std::string body;
  protocol::append_body(encode_headers(options.headers.view()), payload, body);
  output(queue, std::string(type), std::move(body), options);
}

void DeliveryContext::wrong_thread(const std::string& what) {
  throw Error(what +
              " on a thread that is not the shard's, such as one of weir::offload; take there what it works on, " +
              "and do this once the offloaded work has returned");
}

void DeliveryContext::output(std::string_view queue, std::string type, std::string body,
                             const PublishOptions& options) {
  if (&thread_mark != thread_) wrong_thread("publish to '" + std::string(queue) + "'");
  if (!home_.session.has_queue(queue)) {
    throw UnknownQueue("publish to '" + std::string(queue) + "': the engine has no such queue");
  }
  engine::check_type(queue, type);
  engine::check_publishable({.queue = queue,
                             .type = type,
                             .key = options.key,
                             .unique_id = options.unique_id,
                             .body = body,
                             .body_head = {},
                             .delay = options.delay,
                             .deliver_at = options.deliver_at,
                             .priority = options.priority});
  const std::uint64_t cost = body.size() + type.size() + options.key.size() + options.unique_id.size() + output_cost;
  const std::uint64_t most = home_.session.message_most().value;
  if (output_bytes_ + cost > most) {
    throw TooLarge("publish to '" + std::string(queue) + "': with this message of " + std::to_string(body.size()) +
                   " bytes the outputs of one delivery are larger than " + std::to_string(most) +
                   " bytes (broker.message_most)");
  }
  output_head_bytes_ += cost - body.size();
  if (outputs_.size() == protocol::outputs_most || output_head_bytes_ > protocol::outputs_head_bytes_most) {
    throw TooLarge("publish to '" + std::string(queue) + "': the outputs of one delivery leave in one frame; at most " +
                   std::to_string(protocol::outputs_most) + " messages, and " +
                   std::to_string(protocol::outputs_head_bytes_most) + " bytes of types, keys and ids");
  }
  output_bytes_ += cost;
  outputs_.push_back(engine::Output{std::string(queue), std::move(type), std::string(options.key),
                                    std::string(options.unique_id), std::move(body), options.delay, options.deliver_at,
                                    options.priority});
}

void DeliveryContext::log(log::Level level, std::string_view event, log::Fields fields) {
  if (!log::enabled(level)) return;
  const std::string message = id();
  std::vector<log::Field> all{{"queue", queue()}, {"message", message}, {"attempt", attempt()}};
  all.insert(all.end(), fields.begin(), fields.end());
  log::write(level, event, std::span<const log::Field>(all));
}

}  // namespace weir::worker
