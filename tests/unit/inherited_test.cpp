#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "weir/inherited/limits.hpp"
#include "weir/inherited/stop_words.hpp"

namespace weir::inherited {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Says = StopWords::Says;

TEST(StopWords, TheFirstDrainsAndTheSecondStopsAtOnce) {
  StopWords words;
  EXPECT_EQ(words.hear(SIGINT, false), Says::drain);
  EXPECT_EQ(words.hear(SIGTERM, true), Says::stop_at_once);
}

TEST(StopWords, OneSayingItWhileItDrainsByItselfStopsAtOnce) {
  StopWords words;
  EXPECT_EQ(words.hear(SIGTERM, true), Says::stop_at_once);
}

TEST(StopWords, AHangUpIsNoSecondWord) {
  StopWords words;
  EXPECT_EQ(words.hear(SIGTERM, false), Says::drain);
  EXPECT_EQ(words.hear(SIGHUP, true), Says::nothing);
  EXPECT_EQ(words.hear(SIGTERM, true), Says::stop_at_once);
}

TEST(Limits, WhatIsNeededAndThereIsGivenBack) {
  const int before = dup(STDERR_FILENO);
  close(before);

  need("a test", {.descriptors = 4, .threads = 2, .memory = Bytes{1 << 20}});

  EXPECT_EQ(dup(STDERR_FILENO), before);
  close(before);
}

TEST(Limits, WhatIsMissingIsASentenceThatNamesTheLimit) {
  EXPECT_THAT([] { need("a test", {.descriptors = 10'000'000}); },
              ThrowsMessage<LimitReached>(AllOf(HasSubstr("a test needs 10000000 open files more, and may open "),
                                                HasSubstr("RLIMIT_NOFILE"), HasSubstr("ulimit -n"))));
  EXPECT_THAT([] { need("a test", {.memory = Bytes{1ULL << 62}}); },
              ThrowsMessage<LimitReached>(AllOf(HasSubstr("of addresses more"), HasSubstr("RLIMIT_AS"))));
}

}  // namespace
}  // namespace weir::inherited
