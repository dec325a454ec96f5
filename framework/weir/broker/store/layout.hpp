#pragma once

/// The store's layout: keys and values as bytes. README.md beside this has the table.
///
/// Keys are big-endian numbers, so that LMDB's byte order is the order of places and of due times. Everything a broker
/// writes in its daily work goes to the end of some range. A random key would cost one page per write (measured: 20,000
/// messages per second instead of 1,000,000).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weir/broker/core/store.hpp"

namespace weir::broker::layout {

inline constexpr std::uint32_t format_version = 2;
/// The key of the format's number in `meta`: 4 bytes without a sum, in every format to come.
inline constexpr const char* format_key = "format";

template <std::size_t N>
struct Key {
  std::array<char, N> bytes{};
  [[nodiscard]] std::string_view view() const { return {bytes.data(), N}; }
};
using QueueKey = Key<4>;
using SegmentKeyBytes = Key<13>;  // queue 4, lane 1, segment 8
using PlaceKey = Key<16>;         // queue 4, segment 8, index 4
using DueKey = Key<25>;           // queue 4, clock 1, due bucket 8, segment 8, index 4
using SessionKey = Key<20>;       // token 16, shard 4

[[nodiscard]] QueueKey key_of(QueueId queue);
[[nodiscard]] SegmentKeyBytes key_of(const core::SegmentKey& segment);
[[nodiscard]] PlaceKey key_of(const Place& place);
[[nodiscard]] SessionKey key_of(const ProcessToken& token, std::uint32_t shard);

/// The clock by which the record is due.
[[nodiscard]] core::DueBy due_by(const v1::Record& record);
/// The key has the bucket; the exact time is in the value.
[[nodiscard]] DueKey due_key(const Place& place, core::DueBy by, std::int64_t due_us);
/// The value of a due key: the exact time, and the body's bytes, so that a start can count without reading records.
struct DueValue {
  std::int64_t due_us{};
  std::uint32_t body_bytes{};
};
[[nodiscard]] Key<12> bytes_of(const DueValue& value);

/// A count: 8 bytes.
[[nodiscard]] Key<8> bytes_of(std::uint64_t count);

/// Starts, the oldest first: 16 bytes of id and 8 of commits each.
[[nodiscard]] std::string bytes_of(const std::vector<core::Recovered::Start>& starts);

/// Read the bytes back. They throw StoreBroken if `bytes` does not have the right length.
[[nodiscard]] QueueId read_queue(std::string_view bytes);
[[nodiscard]] core::SegmentKey read_segment_key(std::string_view bytes);
[[nodiscard]] Place read_place(std::string_view bytes);
/// False for a key that damage has made longer or shorter, or whose priority does not exist.
[[nodiscard]] inline bool is_segment_key(std::string_view bytes) {
  return bytes.size() == sizeof(SegmentKeyBytes) && static_cast<unsigned char>(bytes[4]) < lanes_most;
}
[[nodiscard]] inline bool is_place(std::string_view bytes) { return bytes.size() == sizeof(PlaceKey); }
[[nodiscard]] inline bool is_due_key(std::string_view bytes) {
  return bytes.size() == sizeof(DueKey) && static_cast<unsigned char>(bytes[4]) < core::due_clocks.size();
}
struct DueAt {
  Place place;
  core::DueBy by{};
  std::int64_t bucket_us{};
};
[[nodiscard]] DueAt read_due_key(std::string_view bytes);
[[nodiscard]] DueValue read_due_value(std::string_view bytes);
[[nodiscard]] std::uint64_t read_count(std::string_view bytes);
[[nodiscard]] std::vector<core::Recovered::Start> read_starts(std::string_view bytes);
struct SessionId {
  ProcessToken token;
  std::uint32_t shard{};
};
[[nodiscard]] SessionId read_session(std::string_view bytes);
/// A key, for people.
[[nodiscard]] std::string hex(std::string_view bytes);

/// Encodes one PutSegment after the other as v1::Segment, with its sums.
class SegmentEncoder {
 public:
  /// How many bytes write() writes for this segment.
  [[nodiscard]] std::size_t size(const core::PutSegment& segment);
  /// Writes the segment that size() was called with last.
  void write(const core::PutSegment& segment, char* out) const;

 private:
  v1::Index names_;  ///< Protobuf merges parts of a message that follow each other: the columns, then the names
  std::size_t index_bytes_{};
};

/// Writes an encoded v1::Record, with its sums, to `out`, which is reused: `head` (without body) and `body`.
void write_record(const Place& place, const v1::Record& head, std::string_view body, std::string& out);
/// Reads the head of a record whose sums were checked into `head` (reused); returns the body where it lies. Throws
/// StoreBroken if it does not parse.
std::string_view read_record(std::string_view bytes, const Place& place, v1::Record& head);
/// What the core needs to schedule the record; `record` is reused. Throws StoreBroken as read_record() does.
[[nodiscard]] core::RecordHead read_record_head(std::string_view bytes, const Place& place, v1::Record& record);

}  // namespace weir::broker::layout
