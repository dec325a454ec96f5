#pragma once

/// What a message and a frame may be beside the messages' own bytes. proto/README.md has the table of all limits.

#include <cstddef>

namespace weir::protocol {

/// Of what stands in a message's columns: they are in the head of every frame that it is in.
inline constexpr std::size_t type_bytes_most = 512;
inline constexpr std::size_t key_bytes_most = 4096;  ///< of a key, and of a unique_id
/// What a frame may have beside its largest message: the columns of up to 64 KiB of the smallest messages.
inline constexpr std::size_t frame_head_most = 1024 * 1024;

}  // namespace weir::protocol
