/// The plugin as a worker runs it, without a broker.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <weir/testing.hpp>

#include "documents/documents.pb.h"
#include "index.hpp"

namespace documents {
namespace {

using weir::acked;
using weir::rejected;

class DocumentsPlugin : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  weir::testing::Ran read(const std::string& name) {
    Document document;
    document.set_path(folder_ / name);
    return weir::testing::run(weir_plugin_register, document, {.queue = "documents"}, with_);
  }
  weir::testing::Ran index(const Entry& entry) {
    return weir::testing::run(weir_plugin_register, entry, {.queue = "index"}, with_);
  }
  void file(const std::string& name, const std::string& bytes) { std::ofstream(folder_ / name) << bytes; }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("weir-documents-test-" + std::to_string(getpid()));
  const std::map<std::string, std::string> with_ = {{"index", folder_ / "index.db"}};
};

TEST_F(DocumentsPlugin, AFileBecomesAnEntryThatLeavesWithItsAck) {
  file("README", "The Weir\n\nlets through just as much as the bed can carry.\n");

  const auto ran = read("README");

  EXPECT_EQ(ran, acked());
  ASSERT_EQ(ran.published.size(), 1U);
  EXPECT_EQ(ran.published[0].queue, "index");
  const Entry entry = ran.published[0].as<Entry>();
  EXPECT_EQ(entry.path(), folder_ / "README");
  EXPECT_EQ(entry.title(), "The Weir");
  EXPECT_EQ(entry.words(), "the weir lets through just as much as the bed can carry");
}

TEST_F(DocumentsPlugin, AnEmptyFileIsADocumentToo) {
  file("NEWS", "");
  EXPECT_EQ(read("NEWS"), acked());
}

TEST_F(DocumentsPlugin, WhatCannotBeReadIsADeadLetterThatSaysWhy) {
  file("image.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16));
  EXPECT_EQ(read("image.png"), rejected("not text: it has NUL bytes"));
  EXPECT_EQ(read("gone"), rejected("no such file"));
  EXPECT_TRUE(read("gone").published.empty());
}

TEST_F(DocumentsPlugin, AnEntryIsIndexedOnceHoweverOftenItComes) {
  Entry entry;
  entry.set_path("/a");
  entry.set_words("a weir");

  EXPECT_EQ(index(entry), acked());
  EXPECT_EQ(index(entry), acked());

  EXPECT_EQ(Index(folder_ / "index.db", Index::Mode::read).count(), 1U);
}

TEST_F(DocumentsPlugin, AnIndexThatCannotBeWrittenIsARetry) {
  std::filesystem::create_directory(folder_ / "index.db");

  const auto ran = index(Entry{});

  EXPECT_EQ(ran.end.outcome(), weir::Outcome::retry);
  EXPECT_THAT(ran.end.why(), testing::HasSubstr("unable to open database file"));
}

}  // namespace
}  // namespace documents
