#pragma once

/// Gets the words of a file's bytes. All but read_file is pure CPU work: run it off the loop.

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace documents {

/// The most bytes of one file, both as it is and uncompressed. An entry then fits a message (16 MiB by default) with
/// room to spare, and a window of files fits in memory.
inline constexpr std::size_t file_most_bytes = std::size_t{8} * 1024 * 1024;

/// The file will never be in the index. what() is the reason, without the file's name, so that reasons can be counted.
struct NotText : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Returns the file's bytes. Blocks on the disk.
/// Throws: NotText if there is no such file, it cannot be read, is no file, or is over file_most_bytes.
std::string read_file(const std::string& path);

/// Returns the contents of a gzip file (of one or more members); other bytes unchanged.
/// Throws: NotText if it is damaged or holds over file_most_bytes.
std::string uncompressed(std::string bytes);

/// Returns the text as UTF-8. Valid UTF-8 is unchanged. Other text is read as Windows-1252, which includes Latin-1:
/// many old changelogs use it, and a wrong accent is better than no document. Throws: NotText if it has NUL, more than
/// a few control bytes, or bytes that Windows-1252 does not have either.
std::string decoded(std::string bytes);

/// Returns the words in lower case (ASCII; SQLite folds the rest), one space apart. A text over 64 bytes is no word.
std::string words_of(std::string_view text);

/// Returns the first line with a word in it, trimmed, at most 120 bytes of whole characters.
std::string title_of(std::string_view text);

}  // namespace documents
