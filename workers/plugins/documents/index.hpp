#pragma once

/// The search index: an SQLite database with a full-text table (FTS5).

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;

namespace documents {

struct Found {
  std::string path;
  std::string title;
};

/// One connection to the database. Not thread-safe. Every call blocks on the disk.
class Index {
 public:
  struct Row {
    std::string message;  ///< its name
    std::string path, title, words;
    std::uint64_t bytes{};
  };
  enum class Mode { read, write };

  /// Throws: std::runtime_error, with the file's name and SQLite's reason.
  Index(const std::string& file, Mode mode);

  /// Writes all rows or none. They are on disk when it returns. A row replaces the row of the same path. A row whose
  /// message was written before is left out, as it may come again after a newer one of its path.
  void write(std::span<const Row> rows);

  [[nodiscard]] std::uint64_t count();
  /// Returns documents with all these words, the best first.
  [[nodiscard]] std::vector<Found> search(std::string_view words, std::uint64_t most);
  [[nodiscard]] std::uint64_t matches(std::string_view words);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::string file_;
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace documents
