#pragma once

/// A stopped store's data.mdb, written anew with nothing but what is in it: LMDB itself never gives pages back.

#include <filesystem>

#include "weir/message/units.hpp"

namespace weir::broker {

struct Compacted {
  Bytes before;
  Bytes after;
};

/// The same store afterwards: its identity, its commits and its starts are values, and go with it. The new file is
/// whole, synced and looked at before it takes the old one's name; until then nothing of the old one is changed, so
/// that whatever ends this leaves a store.
///
/// Throws: StoreError if there is no store in `folder`, it is damaged, of another format, or in use, or its disk has no
/// room for the new file.
[[nodiscard]] Compacted compact_store(const std::filesystem::path& folder);

}  // namespace weir::broker
