#pragma once

/// Limits of a message and a frame beside the messages' own bytes. proto/README.md has the table of all limits.

#include <cstddef>

namespace weir::protocol {

/// Bounds of a message's columns: they are in the head of every frame that the message is in.
inline constexpr std::size_t type_bytes_most = 512;
inline constexpr std::size_t key_bytes_most = 4096;  ///< of a key, and of a unique_id
/// The most that a frame may have beside its largest message: the columns of up to 64 KiB of the smallest messages.
inline constexpr std::size_t frame_head_most = 1024 * 1024;

}  // namespace weir::protocol
