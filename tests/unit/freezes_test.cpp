#include "weir/worker/freezes.hpp"

#include <gtest/gtest.h>

namespace weir::worker {
namespace {

using namespace std::chrono_literals;
using Found = Freezes::Found;

/// A child and its parent's looks at it, each second of a time of their own.
class Looks {
 public:
  recorder::Life life{.beats = 1, .session_timeout = Duration(2s)};
  bool is_stopped = false;
  bool is_traced = false;

  Found after(Duration pause) {
    now_ += pause;
    return freezes_.look({.now = now_, .life = life, .is_stopped = is_stopped, .is_traced = is_traced});
  }
  /// What it finds within `limit` that is not `alive`, and when.
  std::optional<std::pair<Found, Duration>> within(Duration limit) {
    for (Duration at = 1s; at <= limit; at += 1s) {
      if (const Found found = after(1s); found != Found::alive) return std::pair(found, at);
    }
    return std::nullopt;
  }

 private:
  Freezes::Clock::time_point now_{1h};
  Freezes freezes_{now_};
};

TEST(Freezes, WhatDoesNotCountForThreeSessionTimeoutsIsFrozen) {
  Looks looks;
  EXPECT_EQ(looks.after(1s), Found::alive);
  EXPECT_EQ(looks.within(1min), std::pair(Found::frozen, Duration(6s)));
}

TEST(Freezes, WhatCountsIsNot) {
  Looks looks;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(looks.within(5s), std::nullopt);
    ++looks.life.beats;
  }
}

TEST(Freezes, AParentThatDidNotLookGivesAFreshTime) {
  Looks looks;
  (void)looks.after(1s);
  (void)looks.after(5s);
  EXPECT_EQ(looks.after(60s), Found::alive);
  EXPECT_EQ(looks.within(1min), std::pair(Found::frozen, Duration(6s)));
}

TEST(Freezes, UnderADebuggerItIsToldOnceAndHasItsTimeAgainOnceItIsLetGo) {
  Looks looks;
  looks.is_traced = true;
  (void)looks.after(1s);
  EXPECT_EQ(looks.within(1min), std::pair(Found::traced, Duration(6s)));
  EXPECT_EQ(looks.within(1min), std::nullopt);
  looks.is_traced = false;
  EXPECT_EQ(looks.within(5s), std::nullopt);
  ++looks.life.beats;
  EXPECT_EQ(looks.within(5s), std::nullopt);
  looks.is_traced = true;
  EXPECT_EQ(looks.within(1min), std::pair(Found::traced, Duration(2s)));
}

TEST(Freezes, BeforeItCountsOnlyTheKernelsWordMakesItFrozen) {
  Looks looks;
  looks.life = {};
  EXPECT_EQ(looks.within(10min), std::nullopt);  // a registration may take as long as it likes
  looks.is_stopped = true;
  EXPECT_EQ(looks.within(1min), std::pair(Found::frozen, Duration(30s)));
}

}  // namespace
}  // namespace weir::worker
