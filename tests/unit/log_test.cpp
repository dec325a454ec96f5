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

  EXPECT_THAT(line, EndsWith(" INFO kinds held=12s pause=64ms took=1.5ms ok=true ratio=0.25 "
                             "big=18446744073709551615 low=-1 bytes=7 text=x\n"));
}

TEST_F(Log, APeersBytesCanNeitherEndTheLineNorSteerTheTerminal) {
  configure({});

  const std::string line = printed([] { warn("bad", {{"name", "a\nb \x1b[31m\xff\"="}, {"none", ""}}); });

  EXPECT_THAT(line, EndsWith(" bad name=\"a\\nb \\u001b[31m\\ufffd\\\"=\" none=\"\"\n"));
}

TEST_F(Log, NoControlOfAnySetNorATurnOfDirectionReachesIt) {
  // CSI in C1, NEL, a line separator, right-to-left override, an isolate.
  const std::string bad = "a\u009b2J\u0085b\u2028c\u202ed\u2066e";
  const std::string escaped = R"(text="a\u009b2J\u0085b\u2028c\u202ed\u2066e")";
  configure({});

  EXPECT_THAT(printed([&] { warn("x", {{"text", bad}}); }), EndsWith(escaped + "\n"));
  EXPECT_EQ(printed([&] { last_words("weir", bad + "\nand more"); }), "weir: a?2J?b?c?d?e\nand more\n");
}

TEST_F(Log, ATimeHasOneFormatWhateverItsLength) {
  configure({});
  const auto shown = [](Duration time) {
    const std::string line = printed([&] { info("x", {{"took", time}}); });
    return line.substr(line.find("took=") + 5, line.size() - line.find("took=") - 6);
  };

  EXPECT_EQ(shown(0us), "0s");
  EXPECT_EQ(shown(250us), "250us");
  EXPECT_EQ(shown(261'704us), "261.7ms");
  EXPECT_EQ(shown(1'500ms), "1.5s");
  EXPECT_EQ(shown(10'312'345us), "10.31s");
  EXPECT_EQ(shown(-2ms), "-2ms");
  EXPECT_EQ(shown(24h), "86400s");
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
