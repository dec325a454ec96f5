#include <gmock/gmock.h>

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "weir/handler.hpp"

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

/// How a task ended: what it threw, in words, or "done".
std::string words_of(const std::exception_ptr& thrown) {
  if (!thrown) return "done";
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& error) {
    return error.code() == asio::error::operation_aborted ? "cancelled" : error.what();
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// A task on a loop, which the test may cancel.
class Running {
 public:
  Running(asio::io_context& loop, task<> work) {
    asio::co_spawn(
        loop, std::move(work),
        asio::bind_cancellation_slot(signal_.slot(), [this](std::exception_ptr thrown) { ended_ = words_of(thrown); }));
  }
  void cancel() { signal_.emit(asio::cancellation_type::terminal); }
  [[nodiscard]] const std::string& ended() const { return ended_; }

 private:
  asio::cancellation_signal signal_;
  std::string ended_ = "running";
};

/// (A deadline's timer may stay armed, so the loop itself need not end.)
void run_to_its_end(asio::io_context& loop, const Running& running) {
  const auto limit = std::chrono::steady_clock::now() + 10s;
  loop.restart();
  while (running.ended() == "running" && std::chrono::steady_clock::now() < limit) loop.run_one_until(limit);
}

std::string run(task<> work) {
  asio::io_context loop(1);
  Running running(loop, std::move(work));
  run_to_its_end(loop, running);
  return running.ended();
}

// timeout

task<int> after(Duration time, int value) {
  co_await sleep(time);
  co_return value;
}

TEST(Timeout, GivesTheResultOfWhatIsInTime) {
  int got = 0;
  EXPECT_EQ(run([](int& out) -> task<> { out = co_await timeout(1s, after(1ms, 7)); }(got)), "done");
  EXPECT_EQ(got, 7);
}

TEST(Timeout, EndsWhatTakesTooLong) {
  EXPECT_EQ(run(timeout(5ms, sleep(1h))), "timed out after 5ms");
  EXPECT_EQ(run(timeout(1500us, sleep(1h))), "timed out after 1500us");
}

TEST(Timeout, ForEverIsNotOverAtOnce) {
  EXPECT_EQ(run(timeout(std::chrono::microseconds::max(), sleep(2ms))), "done");
  EXPECT_EQ(run(timeout(std::chrono::hours::max(), sleep(2ms))), "done");
  EXPECT_EQ(run(timeout(5ms, sleep(Duration::max()))), "timed out after 5ms");
}

TEST(Timeout, PassesOnWhatIsThrown) {
  const auto fail = []() -> task<> {
    co_await sleep(1ms);
    throw std::runtime_error("card declined");
  };
  EXPECT_EQ(run(timeout(1s, fail())), "card declined");
}

TEST(Timeout, OfAnInnerAndAnOuterTheOneThatPassesCounts) {
  EXPECT_EQ(run(timeout(1h, timeout(5ms, sleep(1h)))), "timed out after 5ms");
  EXPECT_EQ(run(timeout(5ms, timeout(1h, sleep(1h)))), "timed out after 5ms");
}

TEST(Timeout, TheCallersCancellationReachesTheWork) {
  asio::io_context loop(1);
  Running running(loop, timeout(1h, sleep(1h)));
  loop.poll();
  running.cancel();
  run_to_its_end(loop, running);
  EXPECT_EQ(running.ended(), "cancelled");
}

TEST(Timeout, OneAfterAnotherLeavesNothingBehind) {
  EXPECT_EQ(run([]() -> task<> {
              for (int i = 0; i < 100; ++i) {
                try {
                  co_await timeout(i % 2 == 0 ? Duration(1h) : Duration(100us), sleep(Duration(200 * (i % 3))));
                } catch (const TimedOut&) {
                }
              }
              co_await sleep(1ms);  // not cancelled by any of them
            }()),
            "done");
}

// Deadlines

struct Noted final : async::Deadline {
  Noted(std::vector<int>& to, int my_name) : out(to), name(my_name) {}
  void passed() override { out.push_back(name); }
  std::vector<int>& out;
  int name;
};

TEST(Deadlines, PassInOrderAndNeverEarly) {
  asio::io_context loop(1);
  auto& deadlines = async::Deadlines::of(loop.get_executor());
  const auto start = async::Deadlines::Clock::now();
  std::vector<int> passed;
  Noted late(passed, 3);
  Noted never(passed, 2);
  Noted early(passed, 1);
  deadlines.arm(late, start + 20ms);
  deadlines.arm(never, start + 10ms);
  deadlines.arm(early, start + 5ms);
  never.disarm();

  loop.run_for(15ms);
  EXPECT_THAT(passed, ElementsAre(1));
  EXPECT_TRUE(late.armed());
  while (late.armed()) loop.run_one();

  EXPECT_THAT(passed, ElementsAre(1, 3));
  EXPECT_GE(async::Deadlines::Clock::now() - start, 20ms);
}

TEST(Deadlines, OneBeyondTheWheelsRoundWaitsForItsOwn) {
  asio::io_context loop(1);
  auto& deadlines = async::Deadlines::of(loop.get_executor());
  std::vector<int> passed;
  Noted next_round(passed, 1);
  const auto start = async::Deadlines::Clock::now();
  deadlines.arm(next_round, start + 1100ms);
  loop.run_for(900ms);
  EXPECT_TRUE(next_round.armed());
  while (next_round.armed()) loop.run_one();
  EXPECT_GE(async::Deadlines::Clock::now() - start, 1100ms);
}

TEST(Deadlines, OneMayDestroyAnotherThatIsDue) {
  struct Destroys final : async::Deadline {
    void passed() override { victim.reset(); }
    std::optional<Noted> victim;
  };
  asio::io_context loop(1);
  auto& deadlines = async::Deadlines::of(loop.get_executor());
  std::vector<int> passed;
  Destroys first;
  first.victim.emplace(passed, 1);
  const auto when = async::Deadlines::Clock::now() + 2ms;
  deadlines.arm(first, when);
  deadlines.arm(*first.victim, when);
  while (first.armed()) loop.run_one();
  EXPECT_TRUE(passed.empty());
}

// Semaphore

task<> under(Semaphore& semaphore, Duration time, int& most, int& now) {
  const Semaphore::Permit permit = co_await semaphore.acquire();
  most = std::max(most, ++now);
  co_await sleep(time);
  --now;
}

TEST(SemaphoreLimits, HowManyRunAtOnce) {
  asio::io_context loop(1);
  Semaphore semaphore(3);
  int most = 0;
  int now = 0;
  std::list<Running> running;
  for (int i = 0; i < 10; ++i) running.emplace_back(loop, under(semaphore, 1ms, most, now));
  loop.run_for(5s);
  EXPECT_EQ(most, 3);
  EXPECT_EQ(semaphore.available(), 3U);
  for (const Running& each : running) EXPECT_EQ(each.ended(), "done");
}

TEST(SemaphoreLimits, AreNotLeakedByACancellation) {
  asio::io_context loop(1);
  Semaphore semaphore(1);
  int most = 0;
  int now = 0;
  Running holder(loop, under(semaphore, 1h, most, now));
  Running waiter(loop, under(semaphore, 1ms, most, now));
  Running last(loop, under(semaphore, 1ms, most, now));
  loop.poll();
  EXPECT_EQ(semaphore.waiting(), 2U);

  waiter.cancel();
  loop.restart();
  loop.poll();
  EXPECT_EQ(waiter.ended(), "cancelled");
  EXPECT_EQ(semaphore.waiting(), 1U);
  holder.cancel();
  loop.restart();
  loop.run_for(5s);

  EXPECT_EQ(last.ended(), "done");
  EXPECT_EQ(semaphore.available(), 1U);
}

TEST(SemaphoreLimits, ACancellationTogetherWithThePermitLosesNeither) {
  asio::io_context loop(1);
  Semaphore semaphore(1);
  int most = 0;
  int now = 0;
  Running holder(loop, under(semaphore, 1h, most, now));
  Running waiter(loop, under(semaphore, 1h, most, now));
  loop.poll();
  holder.cancel();
  loop.restart();
  while (holder.ended() == "running") loop.run_one();  // the permit is on its way to the waiter
  waiter.cancel();
  loop.restart();
  loop.run_for(1s);

  EXPECT_EQ(waiter.ended(), "cancelled");
  EXPECT_EQ(semaphore.available(), 1U);
}

TEST(SemaphoreLimits, AnAwaitable) {
  Semaphore semaphore(1);
  int got = 0;
  EXPECT_EQ(run([](Semaphore& on, int& out) -> task<> {
              out = co_await limit(on, after(1ms, 7));
              co_await limit(on, sleep(1ms));
            }(semaphore, got)),
            "done");
  EXPECT_EQ(got, 7);
  EXPECT_EQ(semaphore.available(), 1U);
}

// retry

TEST(Retry, TriesUntilOneSucceeds) {
  int tries = 0;
  const auto flaky = [&tries]() -> task<int> {
    co_await sleep(0ms);
    if (++tries < 3) throw std::runtime_error("reset");
    co_return tries;
  };
  int got = 0;
  EXPECT_EQ(run([](const auto& function, int& out) -> task<> {
              out = co_await retry({.tries = 5, .first = 100us}, function);
            }(flaky, got)),
            "done");
  EXPECT_EQ(got, 3);
}

TEST(Retry, GivesUpWithTheLastError) {
  int tries = 0;
  const auto fail = [&tries]() -> task<> {
    ++tries;
    throw std::runtime_error("reset " + std::to_string(tries));
    co_return;
  };
  EXPECT_EQ(run(retry({.tries = 3, .first = 100us}, fail)), "reset 3");
}

TEST(Retry, LeavesTheHandlersDecisionAlone) {
  int tries = 0;
  const auto reject = [&tries]() -> task<> {
    ++tries;
    throw Reject("no items");
    co_return;
  };
  EXPECT_EQ(run(retry({.tries = 3, .first = 100us}, reject)), "no items");
  EXPECT_EQ(tries, 1);
}

TEST(Retry, IsEndedByACancellationInItsPause) {
  asio::io_context loop(1);
  const auto fail = []() -> task<> {
    throw std::runtime_error("reset");
    co_return;
  };
  Running running(loop, retry({.tries = 3, .first = 1h, .most = 1h}, fail));
  loop.poll();
  running.cancel();
  run_to_its_end(loop, running);
  EXPECT_EQ(running.ended(), "cancelled");
}

// offload

TEST(Offload, RunsElsewhereAndComesBack) {
  const auto here = std::this_thread::get_id();
  std::thread::id there;
  std::thread::id back;
  std::string got;
  EXPECT_EQ(run([](std::thread::id& where, std::thread::id& after_it, std::string& out) -> task<> {
              out = co_await offload([&where] {
                where = std::this_thread::get_id();
                return std::string("tokens");
              });
              after_it = std::this_thread::get_id();
            }(there, back, got)),
            "done");
  EXPECT_NE(there, here);
  EXPECT_EQ(back, here);
  EXPECT_EQ(got, "tokens");
}

TEST(Offload, BringsExceptionsBack) {
  EXPECT_EQ(run(offload([] { throw std::runtime_error("not gzip"); })), "not gzip");
}

TEST(Offload, TakesANamedLambdaWithCaptures) {
  const auto text = std::make_shared<std::string>("hello");
  std::size_t size = 0;
  EXPECT_EQ(run([](std::shared_ptr<std::string> shared, std::size_t& out) -> task<> {
              const auto count = [shared] { return shared->size(); };
              out = co_await offload(count);
            }(text, size)),
            "done");
  EXPECT_EQ(size, 5U);
  while (text.use_count() > 1) std::this_thread::yield();  // the pool's thread lets go of its copy in its own time
}

TEST(Offload, WhatRunsIsAskedToStopAndWaitedFor) {
  asio::io_context loop(1);
  std::promise<void> started;
  std::atomic<bool> stopped{false};
  const auto work = [&](const std::stop_token& stop) {
    started.set_value();
    while (!stop.stop_requested()) std::this_thread::yield();
    stopped = true;
  };
  Running running(loop, offload(work));
  loop.poll();
  started.get_future().wait();
  running.cancel();
  while (running.ended() == "running") loop.run_one();
  EXPECT_TRUE(stopped);
  EXPECT_EQ(running.ended(), "cancelled");
}

TEST(Offload, WhatHasNotStartedNeverDoes) {
  asio::io_context loop(1);
  std::atomic<bool> go{false};
  std::atomic<int> busy{0};
  const auto hold = [&] {
    ++busy;
    while (!go) std::this_thread::yield();
  };
  std::list<Running> holders;
  for (int i = 0; i < 8; ++i) holders.emplace_back(loop, offload(hold));  // at least as many as the pool has threads
  std::atomic<bool> ran{false};
  const auto last = [&] { ran = true; };
  Running running(loop, offload(last));
  loop.poll();
  running.cancel();
  loop.poll();
  EXPECT_EQ(running.ended(), "cancelled");
  go = true;
  loop.restart();
  loop.run_for(5s);
  EXPECT_FALSE(ran);
  EXPECT_EQ(busy, 8);
}

}  // namespace
}  // namespace weir
