// Messages that wait for their time on disk: when each goes out.
#include <gtest/gtest.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

constexpr Connection publisher = 1;
constexpr Connection worker = 2;

/// Messages with a delay each, in frames of 250.
void publish_delayed(Broker& broker, const std::vector<Duration>& delays) {
  for (std::size_t first = 0; first < delays.size(); first += 250) {
    const std::size_t count = std::min<std::size_t>(250, delays.size() - first);
    v1::Frame frame = broker.publish_frame(first + 1, static_cast<int>(count));
    auto& index = *frame.mutable_publish()->mutable_groups(0)->mutable_index();
    for (std::size_t i = first; i < first + count; ++i) {
      index.add_delay_us(static_cast<std::uint64_t>(delays[i].count()));
    }
    broker.say(publisher, std::move(frame), std::string(10 * count, 'x'));
  }
  broker.commit();
}

/// When each was delivered, counted from now, as milliseconds pass.
std::vector<Duration> delivered_after(Broker& broker, std::size_t count, std::chrono::milliseconds within) {
  std::vector<Duration> after;
  for (auto passed = 0ms; passed <= within; passed += 1ms) {
    if (passed > 0ms) broker.pass(1ms);
    after.resize(broker.delivered(worker), passed);
  }
  EXPECT_EQ(after.size(), count);
  return after;
}

TEST(Due, ManyOfOneBucketGoOutInTimeEach) {
  Broker broker;
  broker.open_publisher(publisher);
  std::vector<Duration> delays;
  for (int i = 0; i < 2000; ++i) delays.push_back(500ms + i * 50us);  // two buckets or three
  broker.attach(worker, token(1), 4000);
  publish_delayed(broker, delays);
  broker.pass(480ms);

  const std::vector<Duration> after = delivered_after(broker, delays.size(), 200ms);

  // In the order of their times here, which are the order of places, too.
  for (std::size_t i = 0; i < after.size(); ++i) {
    const Duration late = 480ms + after[i] - delays[i];
    EXPECT_GE(late, 0us) << i;
    EXPECT_LE(late, 2ms) << i;  // a walk a millisecond, and a rest
  }
}

TEST(Due, AFewGoOutAtOnceWhateverTheirPlaces) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.attach(worker, token(1), 100);
  publish_delayed(broker, {530ms, 510ms, 520ms});
  broker.pass(500ms);

  const std::vector<Duration> after = delivered_after(broker, 3, 40ms);

  EXPECT_EQ(after, (std::vector<Duration>{10ms, 20ms, 30ms}));
  EXPECT_EQ(broker.deliveries(worker)[0].first(), 1U);
}

TEST(Due, AllOfOneInstantGoOutInAFewTurns) {
  Broker broker;
  broker.open_publisher(publisher);
  broker.attach(worker, token(1), 40'000);
  publish_delayed(broker, std::vector<Duration>(8000, 500ms));
  broker.pass(499ms);
  EXPECT_EQ(broker.delivered(worker), 0U);

  const std::vector<Duration> after = delivered_after(broker, 8000, 20ms);

  EXPECT_LE(after.back(), 12ms);  // a thousand a turn
}

}  // namespace
}  // namespace weir::broker::core::testing
