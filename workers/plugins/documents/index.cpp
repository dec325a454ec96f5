#include "index.hpp"

#include <sqlite3.h>

#include <stdexcept>

namespace documents {
namespace {

[[noreturn]] void fail(const std::string& file, sqlite3* database) {
  throw std::runtime_error("index " + file + ": " + (database ? sqlite3_errmsg(database) : "out of memory"));
}

/// A prepared statement, for the time of one call.
class Statement {
 public:
  Statement(const std::string& file, sqlite3* database, const char* sql) : file_(file), database_(database) {
    if (sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr) != SQLITE_OK) fail(file, database);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// The text must outlive the next reset().
  Statement& bind(int at, std::string_view text) {
    if (sqlite3_bind_text64(statement_, at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8) != SQLITE_OK) {
      fail(file_, database_);
    }
    return *this;
  }
  Statement& bind(int at, std::int64_t number) {
    if (sqlite3_bind_int64(statement_, at, number) != SQLITE_OK) fail(file_, database_);
    return *this;
  }
  /// Returns true if there is a row.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result == SQLITE_ROW) return true;
    if (result != SQLITE_DONE) fail(file_, database_);
    return false;
  }
  void reset() { sqlite3_reset(statement_); }
  std::int64_t number(int column) { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : "";
  }

 private:
  const std::string& file_;
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

void run(const std::string& file, sqlite3* database, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(file, database);
}

/// Quotes each word, so that a user's text is not read as FTS5's query language.
std::string query_of(std::string_view words) {
  std::string query;
  std::size_t at = 0;
  while ((at = words.find_first_not_of(" \t\n\"", at)) != std::string_view::npos) {
    const std::size_t end = std::min(words.find_first_of(" \t\n\"", at), words.size());
    query.append(query.empty() ? "\"" : " \"").append(words.substr(at, end - at)).append("\"");
    at = end;
  }
  return query;
}

}  // namespace

void Index::Close::operator()(sqlite3* database) const { sqlite3_close(database); }

Index::Index(const std::string& file, Mode mode) : file_(file) {
  const int flags = mode == Mode::read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* database = nullptr;
  const int result = sqlite3_open_v2(file.c_str(), &database, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  database_.reset(database);
  if (result != SQLITE_OK) fail(file_, database);
  sqlite3_busy_timeout(database, 5000);
  if (mode == Mode::read) return;
  // FULL: acked rows must be on disk, else a power loss loses rows that no redelivery brings back.
  run(file_, database,
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
      "CREATE TABLE IF NOT EXISTS documents(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL,"
      "                                     bytes INTEGER NOT NULL);"
      "CREATE TABLE IF NOT EXISTS messages(name TEXT PRIMARY KEY, written INTEGER NOT NULL) WITHOUT ROWID;"
      "DELETE FROM messages WHERE written < unixepoch() - 30 * 86400;"
      "CREATE VIRTUAL TABLE IF NOT EXISTS entries USING fts5(title, words);");
}

void Index::write(std::span<const Row> rows) {
  sqlite3* database = database_.get();
  run(file_, database, "BEGIN IMMEDIATE");
  try {
    Statement message(file_, database,
                      "INSERT INTO messages(name, written) VALUES(?1, unixepoch()) ON CONFLICT DO NOTHING RETURNING 1");
    Statement document(file_, database,
                       "INSERT INTO documents(path, title, bytes) VALUES(?1, ?2, ?3)"
                       " ON CONFLICT(path) DO UPDATE SET title = ?2, bytes = ?3 RETURNING id");
    Statement entry(file_, database, "INSERT OR REPLACE INTO entries(rowid, title, words) VALUES(?1, ?2, ?3)");
    for (const Row& row : rows) {
      const bool is_new = message.bind(1, row.message).step();
      message.reset();
      if (!is_new) continue;
      document.bind(1, row.path).bind(2, row.title).bind(3, static_cast<std::int64_t>(row.bytes)).step();
      const std::int64_t id = document.number(0);
      document.reset();
      entry.bind(1, id).bind(2, row.title).bind(3, row.words).step();
      entry.reset();
    }
    run(file_, database, "COMMIT");
  } catch (...) {
    sqlite3_exec(database, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

std::uint64_t Index::count() {
  Statement statement(file_, database_.get(), "SELECT count(*) FROM documents");
  statement.step();
  return static_cast<std::uint64_t>(statement.number(0));
}

std::uint64_t Index::matches(std::string_view words) {
  const std::string query = query_of(words);
  if (query.empty()) return 0;
  Statement statement(file_, database_.get(), "SELECT count(*) FROM entries WHERE entries MATCH ?1");
  statement.bind(1, query).step();
  return static_cast<std::uint64_t>(statement.number(0));
}

std::vector<Found> Index::search(std::string_view words, std::uint64_t most) {
  std::vector<Found> found;
  const std::string query = query_of(words);
  if (query.empty()) return found;
  Statement statement(file_, database_.get(),
                      "SELECT path, documents.title FROM entries JOIN documents ON documents.id = entries.rowid"
                      " WHERE entries MATCH ?1 ORDER BY rank LIMIT ?2");
  statement.bind(1, query).bind(2, static_cast<std::int64_t>(most));
  while (statement.step()) {
    found.push_back({.path = statement.text(0), .title = statement.text(1)});
  }
  return found;
}

}  // namespace documents
