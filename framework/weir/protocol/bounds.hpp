#pragma once

/// What a client's frame may hold beside its messages, checked before any of it is parsed.
///
/// A few bytes of Protobuf may stand for much: a frame of 4 MiB that named 2,000,000 queues took 5.6 s and 950 MB. So a
/// frame's head (all but its run) is bounded in bytes, by kind, and a large head also in fields. A head within these
/// bounds is parsed in about 1 ms, into a few MiB.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "weir/protocol/frame.hpp"
#include "weir/protocol/limits.hpp"

namespace weir::protocol {

/// Bytes of the head of any frame, except those below.
inline constexpr std::size_t head_bytes_most = 64 * 1024;
/// Bytes of the head of a PUBLISH, SETTLE or DEATH, which says something of each message.
inline constexpr std::size_t messages_head_bytes_most = frame_head_most;
/// Fields in such a head, with those in its parts. A packed column is one. A part counts twice, as it becomes an
/// object. So many fields of a PUBLISH or SETTLE are parsed in 2 to 3 ms.
inline constexpr std::uint32_t messages_head_fields_most = 40 * 1024;
/// The same for a DEATH, whose parts are larger; 12,000 handlers that had started fit.
inline constexpr std::uint32_t death_head_fields_most = 96 * 1024;

/// Outputs of one delivery, which leave in one frame: how many, and how many bytes of them beside their Bodies. Each
/// has a field for its type, key and unique_id; the rest is a dozen fields for each queue and priority.
inline constexpr std::size_t outputs_most = messages_head_fields_most / 5;
inline constexpr std::size_t outputs_head_bytes_most = messages_head_bytes_most / 2;

/// As decode(), for a frame that a client has sent. Errors: MALFORMED; TOO_LARGE with the bound.
[[nodiscard]] Result<std::string_view> decode_bounded(std::string_view bytes, v1::Frame& head);

}  // namespace weir::protocol
