#pragma once

/// Frames <-> bytes.
///
/// A frame is a v1::Frame whose last field, `run`, holds the messages. The head before it is read and written by
/// generated code; the run is used where it lies. (Protobuf 3.21 has no string_view fields. A frame of 256 messages
/// takes 6 µs this way, instead of 39 µs.)

#include <boost/system/result.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "weir/message/ids.hpp"
#include "weir/message/units.hpp"
#include "weir/v1/wire.pb.h"

namespace weir::protocol {

inline constexpr std::uint32_t magic = 0x52494557;  // "WEIR", little-endian
inline constexpr std::uint32_t version_lowest = 2;
inline constexpr std::uint32_t version_highest = 2;
/// The most messages of a group or segment, and the most bytes unless it is one message.
inline constexpr std::uint32_t segment_messages_most = 256;
inline constexpr std::size_t segment_bytes_most = 64 * 1024;
inline constexpr Bytes message_most_default{16 * 1024 * 1024};

/// What is wrong with a peer's bytes: a code for programs, words for people.
struct ProtocolError {
  v1::Error::Code code = v1::Error::CODE_UNSPECIFIED;
  std::string message;
};
template <class T>
using Result = boost::system::result<T, ProtocolError>;
[[noreturn]] void throw_exception_from_error(const ProtocolError& error, const boost::source_location&);

/// Finds the run in `bytes`, and parses the bytes before it into `head` (reused: no allocation once it is warm).
/// Returns the run, a view into `bytes`; empty if there is none. Error: MALFORMED.
[[nodiscard]] Result<std::string_view> decode(std::string_view bytes, v1::Frame& head);

/// The two steps of decode(): find where the run begins, which costs nothing; and parse the head.
struct FrameParts {
  std::string_view head;
  std::string_view run;
};
[[nodiscard]] Result<FrameParts> split_frame(std::string_view bytes);
[[nodiscard]] Result<std::string_view> parse_frame(std::size_t frame_bytes, const FrameParts& parts, v1::Frame& head);

/// Bytes of `head` (which must have no run itself) with a run of `run_bytes` behind it.
[[nodiscard]] std::size_t encoded_size(const v1::Frame& head, std::size_t run_bytes);
/// Writes the head, and tag and length of the run, to `out`; returns where the run's `run_bytes` bytes go. Call it only
/// right after encoded_size(head, run_bytes), whose cached sizes it uses.
char* encode_head(const v1::Frame& head, std::size_t run_bytes, char* out);
/// All in one string; not for the hot path.
[[nodiscard]] std::string encode(const v1::Frame& head, std::string_view run = {});

/// The run in an encoded v1::Segment, as decode() finds it in a frame; `index` and `published_at_us` get the rest.
[[nodiscard]] Result<std::string_view> decode(std::string_view bytes, v1::Index& index, std::int64_t& published_at_us);

/// Payload and headers of one encoded Body, as views. Error: MALFORMED.
struct BodyView {
  std::string_view payload;
  std::string_view headers;  ///< the encoded fields before the payload; parse as v1::Body
};
[[nodiscard]] Result<BodyView> decode_body(std::string_view body);
/// Appends an encoded Body without headers to `run`.
void append_body(std::string_view payload, std::string& run);
/// Appends `encoded_headers` (an encoded v1::Body without payload) and the payload.
void append_body(std::string_view encoded_headers, std::string_view payload, std::string& run);
/// Appends the bytes between the headers and a payload of so many bytes.
void append_payload_tag(std::size_t payload_bytes, std::string& run);

/// Checks that the columns of `index` agree with each other and with `run_bytes`; the error says which one does not.
/// TOO_LARGE: a group of more than 256 messages, or above 64 KiB with more than one message, or a message above
/// `message_most`.
[[nodiscard]] Result<void> check(const v1::Index& index, std::size_t run_bytes, Bytes message_most);

/// Columns [first, first + count) of `from`, and only the types they use.
void slice(const v1::Index& from, std::uint32_t first, std::uint32_t count, v1::Index& to);
/// Appends all columns of `from` to `to`; types are merged.
void append(const v1::Index& from, v1::Index& to);

/// True if one more message of `size` may be sent to a session that holds `outstanding`.
///
/// A session that holds nothing may be sent one message of any size (promise 2): otherwise a message larger than
/// the byte window would wait for ever.
[[nodiscard]] bool admits(const Load& window, const Load& outstanding, Bytes size) noexcept;

}  // namespace weir::protocol
