#include "weir/broker/store/layout.hpp"

#include <google/protobuf/io/coded_stream.h>

#include <boost/endian/conversion.hpp>
#include <cstring>

#include "weir/broker/store/store_error.hpp"
#include "weir/broker/store/sums.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker::layout {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr std::uint8_t index_tag = (1 << 3) | 2;
constexpr std::uint8_t published_at_tag = 2 << 3;
constexpr std::uint8_t last_field_tag = (15 << 3) | 2;  // `run` and `body`

template <class Number>
char* append(Number number, char* out) {
  boost::endian::endian_store<Number, sizeof(Number), boost::endian::order::big>(reinterpret_cast<unsigned char*>(out),
                                                                                 number);
  return out + sizeof(Number);
}

/// Takes a big-endian number off the front.
template <class Number>
Number take(std::string_view& bytes) {
  const auto number = boost::endian::endian_load<Number, sizeof(Number), boost::endian::order::big>(
      reinterpret_cast<const unsigned char*>(bytes.data()));
  bytes.remove_prefix(sizeof(Number));
  return number;
}

void expect_size(std::string_view bytes, std::size_t size, const char* what) {
  if (bytes.size() == size) return;
  throw StoreBroken(std::string("the store is damaged: ") + what + " of " + std::to_string(bytes.size()) +
                    " bytes instead of " + std::to_string(size) + "; restore the data folder from a backup");
}

}  // namespace

QueueKey key_of(QueueId queue) {
  QueueKey key;
  append(queue, key.bytes.data());
  return key;
}

SegmentKeyBytes key_of(const core::SegmentKey& segment) {
  SegmentKeyBytes key;
  append(segment.segment, append(segment.lane, append(segment.queue, key.bytes.data())));
  return key;
}

PlaceKey key_of(const Place& place) {
  PlaceKey key;
  append(place.index, append(place.segment, append(place.queue, key.bytes.data())));
  return key;
}

SessionKey key_of(const ProcessToken& token, std::uint32_t shard) {
  SessionKey key;
  std::memcpy(key.bytes.data(), token.bytes.data(), token.bytes.size());
  append(shard, key.bytes.data() + token.bytes.size());
  return key;
}

core::DueBy due_by(const v1::Record& record) { return record.by_wall() ? core::DueBy::wall : core::DueBy::broker; }

DueKey due_key(const Place& place, core::DueBy by, std::int64_t due_us) {
  DueKey key;
  char* out = append(static_cast<std::uint8_t>(by), append(place.queue, key.bytes.data()));
  out = append(static_cast<std::uint64_t>(core::due_bucket(due_us)), out);
  append(place.index, append(place.segment, out));
  return key;
}

Key<8> bytes_of(std::uint64_t count) {
  Key<8> bytes;
  append(count, bytes.bytes.data());
  return bytes;
}

std::string bytes_of(const std::vector<core::Recovered::Start>& starts) {
  std::string bytes;
  for (const auto& [id, commits] : starts) {
    bytes += id.view();
    bytes += bytes_of(commits).view();
  }
  return bytes;
}

Key<12> bytes_of(const DueValue& value) {
  Key<12> bytes;
  append(value.body_bytes, append(static_cast<std::uint64_t>(value.due_us), bytes.bytes.data()));
  return bytes;
}

QueueId read_queue(std::string_view bytes) {
  expect_size(bytes, 4, "a queue's key");
  return take<QueueId>(bytes);
}

core::SegmentKey read_segment_key(std::string_view bytes) {
  expect_size(bytes, 13, "a segment's key");
  core::SegmentKey key;
  key.queue = take<QueueId>(bytes);
  key.lane = take<Lane>(bytes);
  key.segment = take<SegmentNumber>(bytes);
  if (key.lane >= lanes_most) {
    throw StoreBroken("the store is damaged: a segment's key names priority " + std::to_string(key.lane) +
                      "; restore the data folder from a backup");
  }
  return key;
}

Place read_place(std::string_view bytes) {
  expect_size(bytes, 16, "a place's key");
  Place place;
  place.queue = take<QueueId>(bytes);
  place.segment = take<SegmentNumber>(bytes);
  place.index = take<std::uint32_t>(bytes);
  return place;
}

DueAt read_due_key(std::string_view bytes) {
  expect_size(bytes, 25, "a due key");
  DueAt at;
  at.place.queue = take<QueueId>(bytes);
  const auto clock = take<std::uint8_t>(bytes);
  if (clock >= core::due_clocks.size()) {
    throw StoreBroken("the store is damaged: a due key names clock " + std::to_string(clock) +
                      "; restore the data folder from a backup");
  }
  at.by = core::due_clocks[clock];
  at.bucket_us = static_cast<std::int64_t>(take<std::uint64_t>(bytes));
  at.place.segment = take<SegmentNumber>(bytes);
  at.place.index = take<std::uint32_t>(bytes);
  return at;
}

DueValue read_due_value(std::string_view bytes) {
  expect_size(bytes, 12, "a due value");
  DueValue value;
  value.due_us = static_cast<std::int64_t>(take<std::uint64_t>(bytes));
  value.body_bytes = take<std::uint32_t>(bytes);
  return value;
}

std::uint64_t read_count(std::string_view bytes) {
  expect_size(bytes, 8, "a count");
  return take<std::uint64_t>(bytes);
}

std::vector<core::Recovered::Start> read_starts(std::string_view bytes) {
  constexpr std::size_t size = 24;
  if (bytes.size() % size != 0) expect_size(bytes, bytes.size() / size * size + size, "the store's starts");
  std::vector<core::Recovered::Start> starts;
  for (; !bytes.empty(); bytes.remove_prefix(size)) {
    starts.push_back({*StartId::from(bytes.substr(0, 16)), read_count(bytes.substr(16, 8))});
  }
  return starts;
}

SessionId read_session(std::string_view bytes) {
  expect_size(bytes, 20, "a session's key");
  SessionId id;
  id.token = *ProcessToken::from(bytes.substr(0, 16));
  bytes.remove_prefix(16);
  id.shard = take<std::uint32_t>(bytes);
  return id;
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += digits[static_cast<unsigned char>(byte) / 16];
    text += digits[static_cast<unsigned char>(byte) % 16];
  }
  return text;
}

std::size_t SegmentEncoder::size(const core::PutSegment& segment) {
  const core::Contents& contents = *segment.contents;
  names_.Clear();
  protocol::slice_names(contents.names, 0, static_cast<std::uint32_t>(contents.index.lengths_size()),
                        *names_.mutable_names());
  index_bytes_ = contents.index.ByteSizeLong() + names_.ByteSizeLong();
  std::size_t size = 1 + CodedOutputStream::VarintSize64(index_bytes_) + index_bytes_;
  size += 1 + CodedOutputStream::VarintSize64(static_cast<std::uint64_t>(contents.published_at_us));
  return size + 1 + CodedOutputStream::VarintSize64(segment.bytes) + segment.bytes + sums::split_bytes;
}

void SegmentEncoder::write(const core::PutSegment& segment, char* out) const {
  const core::Contents& contents = *segment.contents;
  auto* at = reinterpret_cast<std::uint8_t*>(out);
  *at++ = index_tag;
  at = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(index_bytes_), at);
  at = contents.index.SerializeWithCachedSizesToArray(at);
  at = names_.SerializeWithCachedSizesToArray(at);
  *at++ = published_at_tag;
  at = CodedOutputStream::WriteVarint64ToArray(static_cast<std::uint64_t>(contents.published_at_us), at);
  *at++ = last_field_tag;
  at = CodedOutputStream::WriteVarint64ToArray(segment.bytes, at);
  char* to = reinterpret_cast<char*>(at);
  const std::string_view head(out, static_cast<std::size_t>(to - out));
  const auto key = key_of(segment.key);
  sums::Sum run(key.view());
  for (const Slice& piece : contents.run) {
    if (!piece.bytes.empty()) std::memcpy(to, piece.bytes.data(), piece.bytes.size());
    run.add(piece.bytes);
    to += piece.bytes.size();
  }
  sums::seal_split(key.view(), head, run, to);
}

void write_record(const Place& place, const v1::Record& head, std::string_view body, std::string& out) {
  const std::size_t head_size = head.ByteSizeLong();
  const std::size_t begins = head_size + 1 + CodedOutputStream::VarintSize64(body.size());
  out.resize(begins + body.size() + sums::split_bytes);
  auto* at = head.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out.data()));
  *at++ = last_field_tag;
  at = CodedOutputStream::WriteVarint64ToArray(body.size(), at);
  if (!body.empty()) std::memcpy(at, body.data(), body.size());
  const auto key = key_of(place);
  sums::Sum sum(key.view());
  sum.add(body);
  sums::seal_split(key.view(), {out.data(), begins}, sum, out.data() + begins + body.size());
}

std::string_view read_record(std::string_view bytes, const Place& place, v1::Record& head) {
  // A record ends with its field 15, as a Body does; so the same reader finds the body, without a copy.
  const auto parts = protocol::decode_body(bytes);
  if (!parts || !head.ParseFromArray(parts->headers.data(), static_cast<int>(parts->headers.size())) ||
      head.priority() >= lanes_most || !protocol::read_name(head.name())) {
    throw StoreBroken("the store is damaged: the record at " +
                      print_id(std::to_string(place.queue), place.segment, place.index) +
                      " does not parse; restore the data folder from a backup");
  }
  return parts->payload;
}

core::RecordHead read_record_head(std::string_view bytes, const Place& place, v1::Record& record) {
  const std::string_view body = read_record(bytes, place, record);
  core::RecordHead head;
  head.place = place;
  head.type = record.type();
  head.lane = static_cast<Lane>(record.priority());
  head.attempts = record.attempts();
  head.due_us = record.due_us();
  head.due_by = due_by(record);
  head.bytes = {body.size()};
  head.name = protocol::read_name(record.name());
  head.lease = {record.incarnation(), record.lease()};
  head.suspicion = record.suspicion();
  return head;
}

}  // namespace weir::broker::layout
