#pragma once

/// Whether data.mdb is what LMDB left: looked at before LMDB is let at it.
///
/// LMDB 0.9 has no check sums, and believes every number in its pages: a bit that has turned over in one of them makes
/// it read beyond the file, write into what is in use, or find nothing where something is. So all pages of its trees
/// are walked first, as they lie in the file (LMDB's `mdb.c` has the format, which is the same in every 0.9): each is
/// what the page above takes it for, its entries are in it and in order, none is reached twice or is listed as free,
/// and as many are found as the tree says. What stands in the values is not looked at: they have sums of their own
/// (sums.hpp).

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

/// A value that LMDB gave, under a key of so many bytes. If it has pages of its own: whether they begin as such pages
/// do. LMDB frees as many as stand there, so that a value is removed only if this is true.
[[nodiscard]] bool may_be_removed(std::size_t key_bytes, std::string_view value, std::size_t page_bytes);

/// What is wrong with `file`, all of a data.mdb; nothing if it can be used.
[[nodiscard]] std::optional<std::string> why_unusable(std::string_view file, Looked looked);
/// The same of a file that nobody writes to, as the end of a sentence about it.
[[nodiscard]] std::optional<std::string> why_unusable(const std::filesystem::path& file, Looked looked);

}  // namespace weir::broker
