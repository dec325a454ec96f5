#pragma once

/// Writes a stopped store's data.mdb anew, with only what is in it: LMDB itself never gives pages back.

#include <filesystem>

#include "weir/message/units.hpp"

namespace weir::broker {

struct Compacted {
  Bytes before;
  Bytes after;
};

/// The store stays the same: its identity, its commits and its starts are values, and are copied. The new file is
/// whole, synced and checked before it takes the old one's name. Until then nothing of the old one is changed, so that
/// a store is left whatever ends this.
///
/// Throws: StoreError if there is no store in `folder`, it is damaged, of another format, or in use, or its disk has no
/// room for the new file.
[[nodiscard]] Compacted compact_store(const std::filesystem::path& folder);

}  // namespace weir::broker
