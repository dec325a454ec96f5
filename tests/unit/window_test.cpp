#include "weir/worker/window.hpp"

#include <gmock/gmock.h>

#include "scripted_session.hpp"

namespace weir::worker {
namespace {

using test::batch_of;
using test::Frame;
using test::frame_of;
using test::many;
using testing::HasSubstr;

Load most(std::uint64_t messages, std::uint64_t bytes = 1 << 20) { return {Messages{messages}, Bytes{bytes}}; }

TEST(WindowHolds, WhatTheEngineDeliversBeyondItIsAnError) {
  Window window(most(2));
  window.take(batch_of({"a", "b"}));
  try {
    window.take(batch_of({"c"}, 2));
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("into a window of 2 messages"));
    EXPECT_THAT(error.what(), HasSubstr("closing the session"));
  }
}

TEST(WindowHolds, ATicketThatIsHeldAlreadyIsAnError) {
  Window window(most(4));
  window.take(batch_of({"a"}, 1));
  EXPECT_THROW(window.take(batch_of({"b"}, 1)), Error);
}

TEST(WindowHolds, AMessageLargerThanTheByteWindowIsLetThroughAlone) {
  Window window(most(4, 100));
  window.take(batch_of({std::string(1000, 'x')}, 0));
  EXPECT_THROW(window.take(batch_of({"b"}, 1)), Error);
}

TEST(WindowHolds, APlaceIsFreeOnceItsOutcomeIsKnown) {
  Window window(most(1));
  for (int i = 0; i < 3; ++i) {
    window.take(batch_of({"a"}));
    Place* const place = window.next();
    ASSERT_NE(place, nullptr);
    window.free(*place);
  }
  EXPECT_EQ(window.load(), Load{});
  EXPECT_EQ(window.kept_bytes(), 0U);
}

TEST(FrameMemory, AFrameIsLetGoWithItsLastMessage) {
  Window window(most(8));
  Frame frame = frame_of({"a", "b"});
  window.take(std::move(frame.batch));
  window.free(*window.next());
  EXPECT_FALSE(frame.alive.expired());
  window.free(*window.next());
  EXPECT_TRUE(frame.alive.expired());
}

TEST(FrameMemory, StragglersAreCopiedOutOnceLessThanAQuarterIsLeft) {
  Window window(most(16));
  Frame frame = frame_of(many(12, std::string(100, 'x')));
  window.take(std::move(frame.batch));
  std::vector<Place*> places;
  while (Place* const place = window.next()) places.push_back(place);

  for (std::size_t i = 0; i < 9; ++i) window.free(*places[i]);
  EXPECT_FALSE(window.wants_tidying());
  EXPECT_FALSE(frame.alive.expired());
  EXPECT_EQ(window.kept_bytes(), 12 * 102U);
  window.free(*places[9]);
  EXPECT_TRUE(window.wants_tidying());
  window.tidy();

  EXPECT_TRUE(frame.alive.expired());
  EXPECT_LT(window.kept_bytes(), 3 * 110U);
  EXPECT_EQ(protocol::decode_body(places[10]->delivery->body)->payload, std::string(100, 'x'));
  EXPECT_EQ(places[11]->delivery->type, "text");
  window.free(*places[10]);
  window.free(*places[11]);
  EXPECT_EQ(window.kept_bytes(), 0U);
}

TEST(FrameMemory, AFrameThatIsSettledWholeBeforeTheTurnEndsIsNeverCopied) {
  Window window(most(16));
  window.take(batch_of(many(12, std::string(100, 'x'))));
  while (Place* const place = window.next()) window.free(*place);
  window.take(batch_of(many(12, std::string(100, 'y'))));  // under the same frame's number

  EXPECT_TRUE(window.wants_tidying());
  window.tidy();

  EXPECT_EQ(window.kept_bytes(), 12 * 102U);
  EXPECT_FALSE(window.wants_tidying());
}

TEST(FrameMemory, HoldsAtMostFourTimesWhatIsUnsettled) {
  Window window(most(64));
  std::vector<Place*> stragglers;
  for (engine::Ticket first = 0; first < 64; first += 8) {
    window.take(batch_of(many(8, std::string(1000, 'x')), first));
    for (int i = 0; i < 8; ++i) {
      Place* const place = window.next();
      if (i == 3) {
        stragglers.push_back(place);
      } else {
        window.free(*place);
      }
    }
    window.tidy();
    EXPECT_LE(window.kept_bytes(), 4 * window.load().bytes.value);
  }
  for (Place* const each : stragglers) window.free(*each);
}

TEST(LostLeases, WhatItsHandlerLooksAtLivesOn) {
  Window window(most(8));
  Frame frame = frame_of({"a", "b"});
  window.take(std::move(frame.batch));
  Place* const place = window.next();
  const engine::Delivery* seen = place->delivery;
  place->also = &seen;

  const auto kept = window.detach(*place);
  window.free(*window.next());

  EXPECT_EQ(window.held(0), nullptr);
  EXPECT_EQ(protocol::decode_body(seen->body)->payload, "a");
  window.take(batch_of({"c"}, 0));  // its ticket is free
}

TEST(LostLeases, WhatWaitsIsForgotten) {
  Window window(most(8));
  window.take(batch_of({"a", "b"}));
  window.forget_waiting(*window.held(0));
  EXPECT_EQ(window.next()->delivery->ticket, 1U);
  EXPECT_EQ(window.next(), nullptr);
}

}  // namespace
}  // namespace weir::worker
