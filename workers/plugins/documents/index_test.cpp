#include "index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "writer.hpp"

namespace documents {
namespace {

using testing::HasSubstr;

class DocumentsIndex : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("weir-index-test-" + std::to_string(getpid()));
  const std::string file_ = folder_ / "index.db";
};

Index::Row row(std::string path, std::string words) {
  static int messages = 0;
  return {.message = std::to_string(++messages),
          .path = std::move(path),
          .title = "title",
          .words = std::move(words),
          .bytes = 7};
}

TEST_F(DocumentsIndex, AMessageThatComesTwiceChangesNothing) {
  Index index(file_, Index::Mode::write);
  const std::vector rows{row("/a", "low dam"), row("/b", "high dam")};

  index.write(rows);
  index.write(rows);

  EXPECT_EQ(index.count(), 2U);
  EXPECT_EQ(index.matches("dam"), 2U);
}

TEST_F(DocumentsIndex, ANewerEntryReplacesTheOldWords) {
  Index index(file_, Index::Mode::write);
  index.write(std::vector{row("/a", "low dam")});

  index.write(std::vector{row("/a", "low weir")});

  EXPECT_EQ(index.matches("dam"), 0U);
  EXPECT_EQ(index.matches("weir"), 1U);
}

TEST_F(DocumentsIndex, AnOlderMessageThatComesAgainDoesNotUndoANewerOne) {
  Index index(file_, Index::Mode::write);
  const std::vector older{row("/a", "low dam")};
  index.write(older);
  index.write(std::vector{row("/a", "low weir")});

  index.write(older);

  EXPECT_EQ(index.matches("dam"), 0U);
  EXPECT_EQ(index.matches("weir"), 1U);
}

TEST_F(DocumentsIndex, ASearchFindsWhatHasAllWordsTheBestFirst) {
  Index index(file_, Index::Mode::write);
  index.write(
      std::vector{row("/a", "a long story about a river and once a weir"), row("/b", "weir weir"), row("/c", "river")});

  const auto found = index.search("weir", 5);

  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].path, "/b");
  EXPECT_EQ(index.search("weir river", 5).at(0).path, "/a");
  EXPECT_EQ(index.search("weir", 1).size(), 1U);
}

TEST_F(DocumentsIndex, NothingThatIsTypedIsAQueryError) {
  Index index(file_, Index::Mode::write);
  index.write(std::vector{row("/a", "weir")});

  EXPECT_EQ(index.matches("\"weir"), 1U);
  EXPECT_EQ(index.matches("weir AND"), 0U);
  EXPECT_EQ(index.matches("* ( NEAR"), 0U);
  EXPECT_EQ(index.matches("  "), 0U);
}

TEST_F(DocumentsIndex, AnIndexThatIsNotThereIsAnErrorThatNamesIt) {
  try {
    Index index(folder_ / "none.db", Index::Mode::read);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("none.db: unable to open database file"));
  }
}

TEST_F(DocumentsIndex, TheWriterResumesEachHandlerOnceItsRowIsOnDisk) {
  boost::asio::io_context loop;
  int resumed = 0;
  {
    Writer writer(file_);
    for (int i = 0; i < 100; ++i) {
      boost::asio::co_spawn(loop, writer.write(row("/" + std::to_string(i), "weir")), [&](std::exception_ptr failure) {
        EXPECT_FALSE(failure);
        ++resumed;
      });
    }
    loop.run();
  }
  EXPECT_EQ(resumed, 100);
  EXPECT_EQ(Index(file_, Index::Mode::read).count(), 100U);
}

TEST_F(DocumentsIndex, WhatSqliteRefusesFailsEachWriteAndSaysWhy) {
  boost::asio::io_context loop;
  std::vector<std::string> failures;
  Writer writer(folder_ / "no" / "such" / "folder.db");
  for (int i = 0; i < 2; ++i) {
    boost::asio::co_spawn(loop, writer.write(row("/a", "weir")), [&](std::exception_ptr failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& error) {
        failures.push_back(error.what());
      }
    });
  }
  loop.run();
  EXPECT_THAT(failures, testing::Each(HasSubstr("folder.db: unable to open database file")));
  EXPECT_EQ(failures.size(), 2U);
}

}  // namespace
}  // namespace documents
