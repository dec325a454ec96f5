#include "weir/worker/watchdog.hpp"

#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "weir/telemetry/log.hpp"
#include "weir/worker/process_state.hpp"
#include "weir/worker/recorder/bell.hpp"
#include "weir/worker/recorder/marks.hpp"

namespace weir::worker {
namespace {

using namespace std::chrono_literals;
using recorder::Bell;
using recorder::Recorder;
using testing::HasSubstr;
using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;
using Clock = Recorder::Clock;

/// How long `bell` lets its watch wait, when something is done after 50 ms.
template <class Then>
Clock::duration waited(Bell& bell, bool for_ring, Clock::duration most, Then then) {
  const auto began = Clock::now();
  std::thread other([&] {
    std::this_thread::sleep_for(50ms);
    then();
  });
  (void)bell.wait(most, for_ring);
  const auto took = Clock::now() - began;
  other.join();
  return took;
}

TEST(Bell, EndsTheWaitForARingAndNoOther) {
  Bell bell;
  bell.ring();  // nobody waits: it is not kept
  EXPECT_LT(waited(bell, true, 10s, [&] { bell.ring(); }), 5s);
  EXPECT_GE(waited(bell, false, 200ms, [&] { bell.ring(); }), 200ms);
  EXPECT_GE(waited(bell, true, 200ms, [] {}), 200ms);
}

TEST(Bell, ClosedItLetsNobodyWait) {
  Bell bell;
  EXPECT_LT(waited(bell, false, 10s, [&] { bell.close(); }), 5s);
  EXPECT_TRUE(bell.wait(10s, true));
}

TEST(Watchdog, NamesAHandlerThatStallsTheLoopOfAWorkerThatHasBeenIdle) {
  GroupSettings settings;
  settings.name = "shop";
  settings.queues = {"orders"};
  settings.stall_after = 20ms;
  Recorder recorder({.shards = 1, .slots = 1, .queues = {"orders"}});
  CaptureStderr();
  {
    const Watchdog watchdog(settings, recorder, {"bakery.OrderPlaced"}, [](const Stuck&) {});
    std::thread shard([&] {
      recorder::make_known();
      recorder::set_own({&recorder, &recorder.shard(0)});
      for (int i = 0; i < 3; ++i) {
        std::this_thread::sleep_for(100ms);  // it naps: alone it would sleep through most of these
        const auto now = Clock::now();
        recorder.starts(0, {.segment = 1, .attempt = 1, .started = now, .deadline = now + 30s});
        recorder.enter(recorder.shard(0), 0, now);
        std::this_thread::sleep_for(150ms);
        Recorder::leave(recorder.shard(0));
        recorder.ends(0, recorder.ended(0));
        std::this_thread::sleep_for(1s);  // one line a second
      }
      recorder::set_own({});
    });
    shard.join();
  }
  const std::string told = GetCapturedStderr();
  std::size_t lines = 0;
  for (std::size_t at = told.find("loop_stalled"); at != std::string::npos; at = told.find("loop_stalled", at + 1))
    ++lines;
  EXPECT_EQ(lines, 3U) << told;
  EXPECT_THAT(told, HasSubstr("type=bakery.OrderPlaced"));
  EXPECT_THAT(told, HasSubstr("doing=waits"));  // it sleeps: it is not on the CPU
}

TEST(Watchdog, KnowsAThreadThatComputesFromOneThatWaits) {
  std::atomic<bool> done{false};
  std::atomic<pid_t> busy{0};
  std::thread computing([&] {
    busy = static_cast<pid_t>(syscall(SYS_gettid));
    while (!done) {
    }
  });
  std::promise<void> ends;
  std::atomic<pid_t> idle{0};
  std::thread waiting([&] {
    idle = static_cast<pid_t>(syscall(SYS_gettid));
    ends.get_future().wait();
  });
  while (busy == 0 || idle == 0) std::this_thread::yield();
  std::this_thread::sleep_for(50ms);

  EXPECT_FALSE(thread_waits(busy));
  EXPECT_TRUE(thread_waits(idle));

  done = true;
  ends.set_value();
  computing.join();
  waiting.join();
}

}  // namespace
}  // namespace weir::worker
