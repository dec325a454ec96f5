#include "weir/worker/recorder/recorder.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdlib>
#include <latch>
#include <random>
#include <thread>

#include "weir/worker/recorder/life.hpp"
#include "weir/worker/recorder/marks.hpp"
#include "weir/worker/recorder/record.hpp"
#include "weir/worker/recorder/symbols.hpp"
#include "weir/worker/stalls.hpp"

namespace weir::worker::recorder {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Clock = Recorder::Clock;

const Recorder::Size two_shards{.shards = 2, .slots = 4, .queues = {"orders", "emails"}};

std::vector<std::byte> bytes_of(int file) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(lseek(file, 0, SEEK_END)));
  EXPECT_EQ(pread(file, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

/// A recorder as a child process has it, and what its parent finds in the file.
class InAFile {
 public:
  explicit InAFile(const Recorder::Size& size = two_shards) : file_(make_file(10)), recorder(size, dup(file_)) {}
  ~InAFile() { close(file_); }
  [[nodiscard]] std::vector<std::byte> bytes() const { return bytes_of(file_); }
  [[nodiscard]] int file() const { return file_; }
  [[nodiscard]] Record read() const { return read_record(bytes()).value(); }

 private:
  int file_;

 public:
  Recorder recorder;
};

Starts starts(std::uint32_t queue, std::uint64_t segment, std::uint32_t index) {
  return {.queue = queue,
          .segment = segment,
          .index = index,
          .attempt = 2,
          .handler = 1,
          .started = Clock::now(),
          .deadline = Clock::now() + 30s};
}

TEST(FlightRecorder, SaysWhoseHandlersHaveStartedAndWhoWasOnTheCpu) {
  InAFile in;
  Recorder& recorder = in.recorder;
  recorder.starts(1, starts(0, 0x4f, 17));
  recorder.starts(6, starts(1, 3, 0));
  recorder.starts(7, starts(1, 3, 1));
  recorder.ends(6, recorder.ended(1));
  recorder.enter(recorder.shard(0), 1, Clock::now());
  recorder.enter(recorder.shard(1), 7, Clock::now());
  Recorder::leave(recorder.shard(1));

  const Record record = in.read();

  ASSERT_THAT(record.started, SizeIs(2));
  EXPECT_EQ(record.started[0].queue, "orders");
  EXPECT_EQ(record.started[0].segment, 0x4fU);
  EXPECT_EQ(record.started[0].index, 17U);
  EXPECT_EQ(record.started[0].attempt, 2U);
  EXPECT_GT(record.started[0].memory, 0U);
  EXPECT_EQ(record.started[1].queue, "emails");
  EXPECT_THAT(record.on_cpu, ElementsAre(1));
  EXPECT_FALSE(record.ending);
}

TEST(FlightRecorder, SaysWhatEndedLastTheShardsInTurns) {
  InAFile in;
  Recorder& recorder = in.recorder;
  const auto run = [&](std::uint32_t slot, std::uint64_t segment) {
    recorder.starts(slot, starts(slot / 4, segment, 1));
    recorder.ends(slot, recorder.ended(slot / 4));
  };
  run(0, 10);
  run(5, 20);
  run(1, 11);
  run(5, 21);
  run(2, 10);                            // once more: named once, where it ended last
  recorder.starts(3, starts(0, 11, 1));  // and this one is at work again

  const Record record = in.read();

  EXPECT_THAT(record.ended, ElementsAre(EndedDelivery{"orders", 10, 1}, EndedDelivery{"emails", 21, 1},
                                        EndedDelivery{"emails", 20, 1}));
}

TEST(FlightRecorder, KeepsTheLast256ThatEndedInAShard) {
  InAFile in;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    in.recorder.starts(0, starts(0, 1, i));
    in.recorder.ends(0, in.recorder.ended(0));
  }
  const Record record = in.read();
  ASSERT_THAT(record.ended, SizeIs(ended_most));
  EXPECT_EQ(record.ended.front().index, 999U);
  EXPECT_EQ(record.ended.back().index, 1000U - ended_most);
}

TEST(FlightRecorder, CountsASlotThatIsOnTheShardAndInThePoolOnce) {
  InAFile in;
  in.recorder.starts(1, starts(0, 1, 0));
  in.recorder.enter(in.recorder.shard(0), 1, Clock::now());
  in.recorder.enter(in.recorder.pool(3), 1, Clock::now());
  EXPECT_THAT(in.read().on_cpu, ElementsAre(1));
}

TEST(FlightRecorder, KeepsTheLastLinesOfLog) {
  InAFile in;
  for (int i = 0; i < 40; ++i) in.recorder.log("line " + std::to_string(i));
  in.recorder.log("\x1b[2J\xff");
  const Record record = in.read();
  ASSERT_THAT(record.log, SizeIs(log_lines));
  EXPECT_EQ(record.log.front(), "line 25");
  EXPECT_EQ(record.log.back(), "?[2J?");
}

TEST(FlightRecorder, TakesLinesOfSeveralThreadsAtOnce) {
  InAFile in;
  const auto many = [&](char name) {
    for (int i = 0; i < 1000; ++i) in.recorder.log(std::string(1, name) + std::to_string(i));
  };
  std::thread other(many, 'b');
  many('a');
  other.join();
  EXPECT_THAT(in.read().log, SizeIs(log_lines));
}

TEST(FlightRecorder, IsReadWhateverItsBytesAre) {
  InAFile in;
  in.recorder.starts(1, starts(0, 0x4f, 17));
  in.recorder.enter(in.recorder.shard(0), 1, Clock::now());
  in.recorder.log("line");
  in.recorder.save_map();
  const std::vector<std::byte> whole = in.bytes();
  std::mt19937 random(1);
  std::uniform_int_distribution<unsigned> byte(0, 255);

  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> broken = whole;
    if (i % 3 == 0) broken.resize(random() % broken.size());
    const std::size_t first = i % 2 == 0 ? 0 : 16;  // the magic number kept, or not
    for (int n = 0; n < 40 && broken.size() > first; ++n) {
      const std::size_t span = n % 2 == 0 ? std::min<std::size_t>(broken.size() - first, 96) : broken.size() - first;
      broken[first + random() % span] = static_cast<std::byte>(byte(random));
    }
    if (const auto record = read_record(broken)) {
      for (const std::uint32_t slot : record->on_cpu) EXPECT_NE(record->find(slot), nullptr);
      EXPECT_THAT(names_of(MemoryMap(record->map.substr(0, 4096)), {}), IsEmpty());
    }
  }
  EXPECT_FALSE(read_record({}));
}

TEST(FlightRecorder, TellsAParentWhetherItsChildLivesAndHasHandledAnything) {
  const int empty = make_file(10);
  EXPECT_FALSE(read_life(empty));
  EXPECT_FALSE(has_handled(empty));
  close(empty);

  InAFile in({.shards = 2, .slots = 300, .queues = {"orders"}});
  EXPECT_EQ(read_life(in.file())->beats, 0U);
  EXPECT_FALSE(read_life(in.file())->session_timeout);
  EXPECT_FALSE(read_life(in.file())->ending);
  in.recorder.beat(2s);
  in.recorder.beat(3s);
  EXPECT_EQ(read_life(in.file())->beats, 2U);
  EXPECT_EQ(read_life(in.file())->session_timeout, Duration(3s));
  in.recorder.beat(Duration::max());
  EXPECT_EQ(read_life(in.file())->session_timeout, Duration(24h));

  in.recorder.starts(599, starts(0, 1, 1));
  EXPECT_FALSE(has_handled(in.file()));
  in.recorder.ends(599, in.recorder.ended(1));
  EXPECT_TRUE(has_handled(in.file()));
  in.recorder.ending();
  EXPECT_TRUE(read_life(in.file())->ending);
}

volatile std::uintptr_t nowhere = 16;
volatile int deepest = INT_MAX;

[[gnu::noinline]] void crash_here() { *reinterpret_cast<volatile int*>(nowhere) = 1; }

[[gnu::noinline]] int overflow_here(int depth) {
  volatile char room[4096];
  room[0] = static_cast<char>(depth);
  return depth == deepest ? 0 : overflow_here(depth + 1) + room[0];
}

/// Runs `crash` in a process of its own, on a thread that is shard 1 and runs slot 5; its record.
template <class Crash>
Record after(const Crash& crash) {
  InAFile in;
  const pid_t child = fork();
  if (child == 0) {
    install(in.recorder);
    std::thread([&] {
      make_known();
      set_own({&in.recorder, &in.recorder.shard(1)});
      in.recorder.starts(5, starts(1, 9, 3));
      in.recorder.enter(in.recorder.shard(1), 5, Clock::now());
      crash();
    }).join();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return in.read();
}

TEST(CrashMarks, NameTheDeliveryTheSignalAndTheStack) {
  const Record record = after(crash_here);
  ASSERT_THAT(record.marks, SizeIs(1));
  EXPECT_EQ(record.marks[0].signal, SIGSEGV);
  EXPECT_EQ(record.marks[0].slot, 5U);
  EXPECT_EQ(record.marks[0].address, 16U);
  EXPECT_THAT(names_of(MemoryMap(record.map), record.marks[0].frames), Contains(HasSubstr("crash_here")));
}

TEST(CrashMarks, SurviveAnOverflowOfTheThreadsStack) {
  const Record record = after([] { (void)overflow_here(0); });
  ASSERT_THAT(record.marks, SizeIs(1));
  EXPECT_EQ(record.marks[0].signal, SIGSEGV);
  EXPECT_EQ(record.marks[0].slot, 5U);
  EXPECT_THAT(names_of(MemoryMap(record.map), record.marks[0].frames), Contains(HasSubstr("overflow_here")));
}

TEST(CrashMarks, AreMadeOfAnAbort) {
  const Record record = after([] { std::abort(); });
  ASSERT_THAT(record.marks, SizeIs(1));
  EXPECT_EQ(record.marks[0].signal, SIGABRT);
  EXPECT_EQ(record.marks[0].sender, 0);
}

TEST(CrashMarks, AreMadeOfAnExitBeforeAnythingIsTornDown) {
  const Record record = after([] {
    mark_exits();
    std::exit(3);
  });
  ASSERT_THAT(record.marks, SizeIs(1));
  EXPECT_EQ(record.marks[0].kind, MarkKind::exited);
  EXPECT_EQ(record.marks[0].slot, 5U);
}

TEST(CrashMarks, AreMadeOfTwoExitsAtOnceBeforeAnythingIsTornDown) {
  for (int i = 0; i < 20; ++i) {
    const Record record = after([] {
      std::atexit([] { std::abort(); });
      mark_exits();
      Recorder& recorder = *own().recorder;
      std::latch both(2);
      std::thread other([&] {
        make_known();
        set_own({&recorder, &recorder.shard(0)});
        recorder.starts(1, starts(0, 9, 4));
        recorder.enter(recorder.shard(0), 1, Clock::now());
        both.arrive_and_wait();
        std::exit(3);
      });
      both.arrive_and_wait();
      std::exit(3);
    });
    EXPECT_THAT(record.marks, AllOf(Not(IsEmpty()), Each(Field(&Marked::kind, MarkKind::exited))));
  }
}

TEST(CrashMarks, AreNotMadeInAProcessThatAHandlerForked) {
  const Record record = after([] {
    const pid_t child = fork();
    if (child == 0) crash_here();
    waitpid(child, nullptr, 0);
  });
  EXPECT_THAT(record.marks, IsEmpty());
}

TEST(CrashMarks, ASigkillLeavesNoneButWhoRan) {
  const Record record = after([] { raise(SIGKILL); });
  EXPECT_THAT(record.marks, IsEmpty());
  EXPECT_THAT(record.on_cpu, ElementsAre(5));
}

TEST(MemoryMap, TellsWhichFileLayWhere) {
  const MemoryMap map(
      "1000-2000 r--p 00000000 08:01 17   /usr/bin/weir\n"
      "2000-3000 r-xp 00001000 08:01 17   /usr/bin/weir\n"
      "3000-4000 rw-p 00000000 00:00 0 \n"
      "7000-8000 r-xp 00005000 08:01 18   /opt/a b.so\n"
      "no line at all\n"
      "9000-a000 r-xp");
  ASSERT_TRUE(map.find(0x2010));
  EXPECT_EQ(map.find(0x2010)->file, "/usr/bin/weir");
  EXPECT_EQ(map.find(0x2010)->at, 0x1010U);
  EXPECT_EQ(map.find(0x7004)->file, "/opt/a b.so");
  EXPECT_EQ(map.find(0x7004)->at, 0x5004U);
  EXPECT_FALSE(map.find(0x3000));
  EXPECT_FALSE(map.find(0x10));
  EXPECT_FALSE(map.find(0x9000));
}

OnCpu running(std::uint64_t entry, Clock::time_point since, Clock::time_point deadline) {
  return {
      .running = entry, .since = since, .slot = 0, .slot_state = 1, .what = {.started = since, .deadline = deadline}};
}

/// Looks each 50 ms, from `from` on, until it says something or `until` is over.
std::pair<Stall, Clock::duration> first_word(Stalls& thread, const OnCpu& on_cpu, Clock::duration from,
                                             Clock::duration until) {
  const Clock::time_point zero{};
  for (auto at = from; at <= until; at += 50ms) {
    const auto kind = thread.look(zero + at, 100ms, on_cpu);
    if (kind != Stall::none) return {kind, at};
  }
  return {Stall::none, until};
}

TEST(Stalls, ALoopHeldLongerThanStallAfterIsToldOnceAndAgainAfterTenSeconds) {
  Stalls thread(true, Clock::time_point{});
  const OnCpu on_cpu = running(1, Clock::time_point{}, Clock::time_point{} + 1h);
  EXPECT_EQ(first_word(thread, on_cpu, 50ms, 1s), std::pair(Stall::stalled, Clock::duration(100ms)));
  EXPECT_EQ(first_word(thread, on_cpu, 150ms, 20s), std::pair(Stall::stalled, Clock::duration(10'100ms)));
}

TEST(Stalls, AnotherHandlerIsAnotherStall) {
  Stalls thread(true, Clock::time_point{});
  for (int n = 1; n < 100; ++n) {
    const auto since = Clock::time_point{} + n * 60ms;
    const auto entry = static_cast<std::uint64_t>(n);
    EXPECT_EQ(thread.look(since + 50ms, 100ms, running(entry, since, since + 1h)), Stall::none);
  }
}

TEST(Stalls, PastItsTimeoutALoopIsStuckAfterASecondAndAThreadOfOffloadAfterFive) {
  const OnCpu on_cpu = running(1, Clock::time_point{}, Clock::time_point{} + 2s);
  Stalls loop(true, Clock::time_point{});
  (void)first_word(loop, on_cpu, 0ms, 1s);  // it stalls
  EXPECT_EQ(first_word(loop, on_cpu, 150ms, 10s), std::pair(Stall::stuck, Clock::duration(3'050ms)));
  Stalls pool(false, Clock::time_point{});
  EXPECT_EQ(first_word(pool, on_cpu, 0ms, 10s), std::pair(Stall::stuck, Clock::duration(7'050ms)));
}

TEST(Stalls, TimeInWhichTheProcessDidNotRunIsNobodysFault) {
  Stalls thread(true, Clock::time_point{});
  const OnCpu on_cpu = running(1, Clock::time_point{}, Clock::time_point{} + 2s);
  const auto at = [](Clock::duration time) { return Clock::time_point{} + time; };
  EXPECT_EQ(thread.look(at(60s), 1h, on_cpu), Stall::none);  // SIGCONT
  for (auto time = at(60s); time < at(61s + 900ms); time += 50ms) {
    EXPECT_EQ(thread.look(time, 1h, on_cpu), Stall::none);  // it has its two seconds
  }
  EXPECT_EQ(thread.look(at(62s), 1h, std::nullopt), Stall::none);  // it ended
}

}  // namespace
}  // namespace weir::worker::recorder
