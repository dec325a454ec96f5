#pragma once

/// LMDB's C interface with owners: nothing here knows what is stored.

#include <lmdb.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace weir::broker::lmdb {

/// A call failed: LMDB's code, or an errno.
struct Failure : std::runtime_error {
  Failure(int failed_with, const char* doing)
      : std::runtime_error(std::string(doing) + ": " + mdb_strerror(failed_with)), code(failed_with) {}
  int code;
};
inline void check(int code, const char* doing) {
  if (code != MDB_SUCCESS) throw Failure(code, doing);
}

/// LMDB takes mutable pointers, and changes nothing behind them.
inline MDB_val value(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
inline std::string_view view(const MDB_val& bytes) { return {static_cast<const char*>(bytes.mv_data), bytes.mv_size}; }

/// One transaction; aborted unless committed. Views of what it reads live as long as it does. Views of a writing one
/// live only until its next write.
class Transaction {
 public:
  Transaction(MDB_env* env, unsigned flags) { check(mdb_txn_begin(env, nullptr, flags, &txn_), "mdb_txn_begin"); }
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  [[nodiscard]] MDB_txn* get() const { return txn_; }
  void commit() { check(mdb_txn_commit(std::exchange(txn_, nullptr)), "mdb_txn_commit"); }

 private:
  MDB_txn* txn_ = nullptr;
};

[[nodiscard]] inline std::optional<std::string_view> get(MDB_txn* txn, MDB_dbi database, std::string_view key) {
  MDB_val wanted = value(key);
  MDB_val found{};
  const int code = mdb_get(txn, database, &wanted, &found);
  if (code == MDB_NOTFOUND) return std::nullopt;
  check(code, "mdb_get");
  return view(found);
}
inline void put(MDB_txn* txn, MDB_dbi database, std::string_view key, std::string_view bytes) {
  MDB_val at = value(key);
  MDB_val data = value(bytes);
  check(mdb_put(txn, database, &at, &data, 0), "mdb_put");
}
/// Room of `size` bytes under `key`, to be filled before the transaction's next write.
[[nodiscard]] inline char* reserve(MDB_txn* txn, MDB_dbi database, std::string_view key, std::size_t size) {
  MDB_val at = value(key);
  MDB_val data{size, nullptr};
  check(mdb_put(txn, database, &at, &data, MDB_RESERVE), "mdb_put");
  return static_cast<char*>(data.mv_data);
}
/// False if there was nothing under `key`.
inline bool remove(MDB_txn* txn, MDB_dbi database, std::string_view key) {
  MDB_val at = value(key);
  const int code = mdb_del(txn, database, &at, nullptr);
  if (code == MDB_NOTFOUND) return false;
  check(code, "mdb_del");
  return true;
}

/// A walk in key order; or, in a writing transaction, reads and writes at any key. It stays where the last access was:
/// the next key is looked for in that page first, which saves the way down the tree where keys rise.
class Cursor {
 public:
  Cursor(MDB_txn* txn, MDB_dbi database) { check(mdb_cursor_open(txn, database, &cursor_), "mdb_cursor_open"); }
  ~Cursor() { mdb_cursor_close(cursor_); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  /// Goes to the first key at or above `key`. False if there is none.
  bool seek(std::string_view key) {
    key_ = value(key);
    return step(MDB_SET_RANGE);
  }
  bool next() { return step(MDB_NEXT); }  ///< on a new cursor: the first one
  [[nodiscard]] std::string_view key() const { return view(key_); }
  [[nodiscard]] std::string_view data() const { return view(data_); }

  /// The value under `key`: a view until the transaction's next write.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view key) {
    key_ = value(key);
    return step(MDB_SET_KEY) ? std::optional(data()) : std::nullopt;
  }
  void put(std::string_view key, std::string_view bytes) {
    key_ = value(key);
    data_ = value(bytes);
    check(mdb_cursor_put(cursor_, &key_, &data_, 0), "mdb_cursor_put");
  }
  /// False if there was nothing under `key`.
  bool remove(std::string_view key) {
    if (!get(key)) return false;
    check(mdb_cursor_del(cursor_, 0), "mdb_cursor_del");
    return true;
  }

 private:
  bool step(MDB_cursor_op how) {
    const int code = mdb_cursor_get(cursor_, &key_, &data_, how);
    if (code == MDB_NOTFOUND) return false;
    check(code, "mdb_cursor_get");
    return true;
  }
  MDB_cursor* cursor_ = nullptr;
  MDB_val key_{};
  MDB_val data_{};
};

}  // namespace weir::broker::lmdb
