#pragma once

/// From a file's bytes to its words. Pure CPU work, but for read_file: run it off the loop.

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace documents {

/// The most that one file may hold, as it is and uncompressed. An entry then fits a message (16 MiB by default) with
/// room to spare, and a window of files fits in memory.
inline constexpr std::size_t file_most_bytes = std::size_t{8} * 1024 * 1024;

/// This file will never be in the index; what() is the reason, in words that do not name the file, so that reasons can
/// be counted.
struct NotText : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The file's bytes. Blocks on the disk.
/// Throws: NotText if there is no such file, it cannot be read, is no file, or is over file_most_bytes.
std::string read_file(const std::string& path);

/// What a gzip file (of one or more members) holds; other bytes as they are.
/// Throws: NotText if it is damaged or holds over file_most_bytes.
std::string uncompressed(std::string bytes);

/// The text as UTF-8. Valid UTF-8 stays as it is. What is not is taken for Windows-1252, which Latin-1 is a part of:
/// old changelogs are full of it, and a wrong accent is better than no document. Throws: NotText if it has NUL or more
/// than a few control bytes, or bytes that Windows-1252 does not have either.
std::string decoded(std::string bytes);

/// The words in lower case (ASCII; SQLite folds the rest), one space apart. What is over 64 bytes is no word.
std::string words_of(std::string_view text);

/// The first line with a word in it, trimmed, at most 120 bytes of whole characters.
std::string title_of(std::string_view text);

}  // namespace documents
