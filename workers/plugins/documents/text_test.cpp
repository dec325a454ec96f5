#include "text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

using namespace std::string_literals;

namespace documents {
namespace {

std::string gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

template <class F>
std::string reason_of(F&& f) {
  try {
    f();
    return "none";
  } catch (const NotText& error) {
    return error.what();
  }
}

TEST(Documents, AGzipFileIsReadAsWhatItHolds) {
  EXPECT_EQ(uncompressed(gzip("a weir")), "a weir");
  EXPECT_EQ(uncompressed(gzip("a ") + gzip("weir")), "a weir");
  EXPECT_EQ(uncompressed("a weir"), "a weir");
}

TEST(Documents, DamagedGzipIsRejected) {
  const std::string whole = gzip(std::string(100'000, 'a') + "the end");
  std::string flipped = whole;
  flipped[whole.size() / 2] ^= 0x55;
  EXPECT_EQ(reason_of([&] { uncompressed(whole.substr(0, whole.size() / 2)); }), "damaged gzip");
  EXPECT_EQ(reason_of([&] { uncompressed("\x1f\x8b"s); }), "damaged gzip");
  EXPECT_EQ(reason_of([&] { uncompressed(flipped); }), "damaged gzip");
}

TEST(Documents, ASmallFileThatUncompressesToALargeOneIsRejected) {
  const std::string bomb = gzip(std::string(file_most_bytes + 1, 'a'));
  ASSERT_LT(bomb.size(), 100'000U);
  EXPECT_EQ(reason_of([&] { uncompressed(bomb); }), "too large: over 8 MiB");
}

TEST(Documents, WhatIsNotUtf8IsTakenForLatin1) {
  EXPECT_EQ(decoded("stauw\xC3\xA4rter"), "stauw\xC3\xA4rter");
  EXPECT_EQ(decoded("stauw\xE4rter"), "stauw\xC3\xA4rter");
  EXPECT_EQ(decoded("\x93weir\x94"), "\xE2\x80\x9Cweir\xE2\x80\x9D");
  EXPECT_EQ(decoded("\xC0\xAF"), "\xC3\x80\xC2\xAF");                  // overlong: no UTF-8
  EXPECT_EQ(decoded("\xED\xA0\x80"), "\xC3\xAD\xC2\xA0\xE2\x82\xAC");  // a surrogate: no UTF-8
}

TEST(Documents, WhatCannotBeTextIsRejectedWithAReason) {
  EXPECT_EQ(reason_of([] { decoded("\x89PNG\r\n\0\0"s); }), "not text: it has NUL bytes");
  EXPECT_EQ(reason_of([] { decoded("\x01\x02\x03 text"); }), "not text: it has control bytes");
  EXPECT_EQ(reason_of([] { decoded("caf\xE9 \x81"); }), "not text: neither UTF-8 nor Latin-1");
  EXPECT_EQ(reason_of([] { decoded("page\f\x1b[1mbold\x1b[0m\n"); }), "none");
}

TEST(Documents, FilesThatCannotBeReadAreRejectedWithAReason) {
  const auto folder = std::filesystem::temp_directory_path() / ("weir-text-test-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "large") << std::string(file_most_bytes + 1, 'a');
  std::ofstream(folder / "small") << "a weir";

  EXPECT_EQ(read_file(folder / "small"), "a weir");
  EXPECT_EQ(reason_of([&] { read_file(folder / "none"); }), "no such file");
  EXPECT_EQ(reason_of([&] { read_file(folder); }), "not a file");
  EXPECT_EQ(reason_of([&] { read_file(folder / "large"); }), "too large: over 8 MiB");
  EXPECT_EQ(reason_of([&] { read_file((folder / "small").string() + "/x"); }), "cannot be read: Not a directory");

  std::filesystem::remove_all(folder);
}

TEST(Documents, WordsAreLowerCaseAndOneSpaceApart) {
  EXPECT_EQ(words_of("  The Weir:\n\tlets through (42) stauw\xC3\xA4rter_2.\n"),
            "the weir lets through 42 stauw\xC3\xA4rter_2");
  EXPECT_EQ(words_of("a " + std::string(65, 'x') + " b"), "a b");
  EXPECT_EQ(words_of(" -- "), "");
}

TEST(Documents, TheTitleIsTheFirstLineWithAWord) {
  EXPECT_EQ(title_of("\n=====\n  A weir\tis low \r\nand long"), "A weir is low");
  EXPECT_EQ(title_of("-\n"), "");
  EXPECT_EQ(title_of(std::string(119, 'a') + "\xC3\xA4"), std::string(119, 'a'));  // no half characters
}

}  // namespace
}  // namespace documents
