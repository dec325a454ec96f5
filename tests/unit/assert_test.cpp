// An assertion that does not hold says so, with its numbers, and ends the process.
#include "weir/message/assert.hpp"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Assertions, SayWhatDoesNotHoldWithItsNumbersAndEndTheProcess) {
  testing::FLAGS_gtest_death_test_style = "fast";
  const std::uint64_t held = 257;
  const std::uint64_t window = 256;

  WEIR_ASSERT(window <= held, held);
  EXPECT_DEATH(WEIR_ASSERT(held <= window, held, window),
               "assert_test.cpp:[0-9]+: held <= window does not hold: 257, 256; report this as a defect of Weir");
}

}  // namespace
}  // namespace weir
