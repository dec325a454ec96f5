#include "weir/telemetry/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::log {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

class Log : public testing::Test {
 protected:
  ~Log() override { configure({}); }
};

template <class F>
std::string printed(F write_lines) {
  testing::internal::CaptureStderr();
  write_lines();
  return testing::internal::GetCapturedStderr();
}

TEST_F(Log, ALineHasTimeLevelEventAndFieldsAndNoColourOffATerminal) {
  configure({});

  const std::string line = printed([] {
    warn("lease_lost", {{"queue", "orders"}, {"message", "orders/4f.1"}, {"attempt", 2}});
  });

  EXPECT_THAT(line, MatchesRegex("20[0-9-]+T[0-9:.]+Z WARN lease_lost queue=orders message=orders/4f.1 attempt=2\n"));
}

TEST_F(Log, ValuesOfEachKindArePrinted) {
  configure({});

  const std::string line = printed([] {
    info("kinds", {{"held", 12s},
                   {"pause", 64ms},
                   {"took", 1500us},
                   {"ok", true},
                   {"ratio", 0.25},
                   {"big", UINT64_MAX},
                   {"low", -1},
                   {"bytes", Bytes{7}},
                   {"text", std::string("x")}});
  });

  EXPECT_THAT(line, EndsWith(" INFO kinds held=12s pause=64ms took=1500us ok=true ratio=0.25 "
                             "big=18446744073709551615 low=-1 bytes=7 text=x\n"));
}

TEST_F(Log, APeersBytesCanNeitherEndTheLineNorSteerTheTerminal) {
  configure({});

  const std::string line = printed([] { warn("bad", {{"name", "a\nb \x1b[31m\xff\"="}, {"none", ""}}); });

  EXPECT_THAT(line, EndsWith(" bad name=\"a\\nb \\u001b[31m\\ufffd\\\"=\" none=\"\"\n"));
}

TEST_F(Log, JsonLinesAreJson) {
  configure({.json = true});

  const std::string line = printed([] { error("x", {{"n", 1}, {"t", "a \"b\" \xc3\xa9 \xc3"}, {"for", 1500ms}}); });

  EXPECT_THAT(line, MatchesRegex("\\{\"time\":\"[0-9T:.Z-]+\",\"level\":\"error\",\"event\":\"x\",.*\\}\n"));
  EXPECT_THAT(line, EndsWith(",\"event\":\"x\",\"n\":1,\"t\":\"a \\\"b\\\" \xc3\xa9 \\ufffd\",\"for\":1.5}\n"));
}

TEST_F(Log, WhatIsBelowTheLevelIsLeftOut) {
  configure({.level = Level::warn});

  const std::string lines = printed([] {
    info("quiet");
    warn("loud");
  });

  EXPECT_FALSE(enabled(Level::info));
  EXPECT_TRUE(enabled(Level::error));
  EXPECT_THAT(lines, HasSubstr("WARN loud"));
  EXPECT_THAT(lines, Not(HasSubstr("quiet")));
}

TEST_F(Log, ARepeatingWarningIsLimitedAndSaysHowManyItLeftOut) {
  Limit limit(10s);
  const std::chrono::steady_clock::time_point start{};

  EXPECT_EQ(limit.pass(start), 0U);
  EXPECT_EQ(limit.pass(start + 1s), std::nullopt);
  EXPECT_EQ(limit.pass(start + 9s), std::nullopt);
  EXPECT_EQ(limit.pass(start + 10s), 2U);
  EXPECT_EQ(limit.pass(start + 20s), 0U);
}

TEST_F(Log, OfALimitedWarningOneLineIsPrinted) {
  configure({});
  Limit limit(1h);

  EXPECT_THAT(printed([&] { warn(limit, "again"); }), EndsWith(" WARN again\n"));
  EXPECT_THAT(printed([&] { warn(limit, "again"); }), IsEmpty());
}

TEST_F(Log, LevelsAreReadFromTheirWords) {
  EXPECT_EQ(parse_level("debug"), Level::debug);
  EXPECT_EQ(parse_level("warn"), Level::warn);
  EXPECT_EQ(parse_level("warning"), std::nullopt);
}

}  // namespace
}  // namespace weir::log
