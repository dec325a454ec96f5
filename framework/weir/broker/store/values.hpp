#pragma once

/// Values of the databases, each with its sum behind it (sums.hpp).

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "weir/broker/store/lmdb.hpp"
#include "weir/broker/store/sums.hpp"

namespace weir::broker::values {

inline void put(MDB_txn* txn, MDB_dbi database, std::string_view key, std::string_view value) {
  char* const out = lmdb::reserve(txn, database, key, value.size() + sums::plain_bytes);
  if (!value.empty()) std::memcpy(out, value.data(), value.size());
  sums::seal(key, out, value.size());
}

/// The value; nothing if there is none, or if it is damaged.
[[nodiscard]] inline std::optional<std::string_view> get(MDB_txn* txn, MDB_dbi database, std::string_view key) {
  const auto stored = lmdb::get(txn, database, key);
  return stored ? sums::open(key, *stored) : std::nullopt;
}
/// The same for a segment, a record or a dead letter: all of it is checked.
[[nodiscard]] inline std::optional<std::string_view> get_split(MDB_txn* txn, MDB_dbi database, std::string_view key) {
  const auto stored = lmdb::get(txn, database, key);
  const auto split = stored ? sums::open_split(key, *stored) : std::nullopt;
  return split ? std::optional(split->value) : std::nullopt;
}
/// The same, but only the bytes before the payload are checked, and may be read.
[[nodiscard]] inline std::optional<std::string_view> get_head(MDB_txn* txn, MDB_dbi database, std::string_view key) {
  const auto stored = lmdb::get(txn, database, key);
  const auto split = stored ? sums::open_head(key, *stored) : std::nullopt;
  return split ? std::optional(split->value) : std::nullopt;
}

}  // namespace weir::broker::values
