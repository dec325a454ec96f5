#pragma once

/// Whether data.mdb is what LMDB left: checked before LMDB opens it.
///
/// LMDB 0.9 has no check sums, and believes every number in its pages. A bit that has flipped in one of them makes it
/// read beyond the file, write into pages that are in use, or find nothing where something is. So all pages of its
/// trees are walked first, as they are in the file (LMDB's `mdb.c` has the format, which is the same in every 0.9).
/// Each page must be what the page above takes it for. Its entries must be in it and in order. No page may be reached
/// twice, or be listed as free. The tree must have as many as it says. Values are not looked at: they have sums of
/// their own (sums.hpp).

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace weir::broker {

struct Looked {
  /// Also at the first page of each value that has pages of its own. (A start reads no payloads.)
  bool at_long_values = false;
  /// The two last commits must be neighbours. (After a power loss without fsync they need not be.)
  bool was_synced = true;
};

/// True for a value without pages of its own, and for one whose pages begin as such pages do. LMDB gave it, under a key
/// of `key_bytes`. LMDB frees as many pages as the first page says, so a value is removed only if this is true.
[[nodiscard]] bool may_be_removed(std::size_t key_bytes, std::string_view value, std::size_t page_bytes);

/// What is wrong with `file`, all of a data.mdb; nothing if it can be used.
[[nodiscard]] std::optional<std::string> why_unusable(std::string_view file, Looked looked);
/// The same for a file that no process writes to, as the end of a sentence about it.
[[nodiscard]] std::optional<std::string> why_unusable(const std::filesystem::path& file, Looked looked);

}  // namespace weir::broker
