#include "poisons.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "forks.hpp"

namespace asio = boost::asio;

/// Each is noinline, so that a stack names it.
namespace poison {

using namespace std::chrono_literals;

volatile std::uintptr_t nowhere = 16;
volatile int deepest = INT_MAX;
volatile int zero = 0;

[[gnu::noinline]] void null_pointer() { *reinterpret_cast<volatile int*>(nowhere) = 1; }
[[gnu::noinline]] void abort() { std::abort(); }
[[gnu::noinline]] int stack_overflow(int depth) {
  volatile char room[1024];
  room[0] = static_cast<char>(depth);
  return depth == deepest ? 0 : stack_overflow(depth + 1) + room[0];
}
[[gnu::noinline]] void exit() { std::exit(0); }
[[gnu::noinline]] void exit_at_once() { ::_exit(0); }
[[gnu::noinline]] void exec() { ::execl("/bin/true", "true", nullptr); }
[[gnu::noinline]] void sigkill() { ::raise(SIGKILL); }
[[gnu::noinline]] void sigtrap() { ::raise(SIGTRAP); }
[[gnu::noinline]] void trap() { __builtin_trap(); }
// A sanitizer would only report it, as it reports what was not meant.
[[gnu::noinline]] __attribute__((no_sanitize("undefined"))) void divide_by_zero() { deepest = deepest / zero; }
[[gnu::noinline]] void jump_to_nowhere() { reinterpret_cast<void (*)()>(nowhere)(); }
[[gnu::noinline]] void bus_error() {
  const int file = ::memfd_create("empty", 0);
  void* const at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  *static_cast<volatile char*>(at) = 1;
}
[[gnu::noinline]] void sigsys() { ::raise(SIGSYS); }
[[gnu::noinline]] void thread_exit() { ::pthread_exit(nullptr); }
[[gnu::noinline]] void throws() { throw std::runtime_error("thrown where nobody catches"); }
[[gnu::noinline]] void noexcept_throw() noexcept { throws(); }
/// Until the kernel, or a stand-in for it, has had enough.
[[gnu::noinline]] void out_of_memory() {
  for (std::vector<std::unique_ptr<char[]>> all;;) {
    constexpr std::size_t piece = 4 << 20;
    all.push_back(std::make_unique<char[]>(piece));
    for (std::size_t i = 0; i < piece; i += 4096) const_cast<volatile char&>(all.back()[i]) = 1;
    std::this_thread::sleep_for(3ms);
  }
}
[[gnu::noinline]] void endless_loop() {
  while (deepest > 0) {
  }
}
/// Of blocks that others use: it crashes whoever comes by, later.
[[gnu::noinline]] void heap_corruption() {
  for (const std::size_t size : {16, 32, 48, 64, 96, 128, 256}) {
    for (int i = 0; i < 64; ++i) {
      char* const block = static_cast<char*>(std::malloc(size));
      // A compiler that sees what is done to a block that is gone says so.
      char* volatile gone = block;
      std::free(block);
      std::memset(gone, 0x7f, size);  // NOLINT: the free list's
    }
  }
}

struct Wordless : std::exception {
  [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

void wait_for_a_thread() {
  static std::atomic<int> loops;
  if (loops++ >= 2) throw weir::Defer(100ms);
}

void take(const std::string& kind) {
  if (forks::take(kind)) return;
  if (kind == "null_pointer") null_pointer();
  if (kind == "abort") abort();
  if (kind == "stack_overflow") (void)stack_overflow(0);
  if (kind == "exit") exit();
  if (kind == "exit_at_once") exit_at_once();
  if (kind == "exec") exec();
  if (kind == "sigkill") sigkill();
  if (kind == "sigtrap") sigtrap();
  if (kind == "trap") trap();
  if (kind == "divide_by_zero") divide_by_zero();
  if (kind == "jump_to_nowhere") jump_to_nowhere();
  if (kind == "bus_error") bus_error();
  if (kind == "sigsys") sigsys();
  if (kind == "thread_exit") thread_exit();
  if (kind == "noexcept_throw") noexcept_throw();
  if (kind == "out_of_memory") out_of_memory();
  if (kind == "endless_loop") endless_loop();
  if (kind == "heap_corruption") heap_corruption();
  if (kind == "null_what") throw Wordless();
  if (kind == "empty_what") throw std::runtime_error("");
  if (kind == "throw_int") throw 42;
}

namespace {

weir::task<> after(std::chrono::milliseconds time, void (*what)()) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
  what();
}
void say_loudly(const std::exception_ptr& thrown) {
  if (thrown) std::rethrow_exception(thrown);
}
/// Its handler has ended by then.
void soon(const asio::any_io_executor& loop, std::chrono::milliseconds time, void (*what)()) {
  auto timer = std::make_shared<asio::steady_timer>(loop, time);
  timer->async_wait([timer, what](boost::system::error_code) { what(); });
}

}  // namespace

weir::task<> leave_behind(const std::string& kind, const asio::any_io_executor& loop) {
  const auto here = co_await asio::this_coro::executor;
  // The handler still runs, and fails with it.
  if (kind == "posted_exception") asio::post(loop, throws);
  if (kind == "spawned_exception") asio::co_spawn(here, after(1ms, throws), say_loudly);
  if (kind == "timer_exception") soon(here, 1ms, throws);
  if (kind == "posted_exit_while_it_waits") asio::post(loop, exit);
  if (kind == "thread_aborts") std::thread(abort).detach();
  if (kind == "thread_throws") std::thread(throws).detach();
  if (kind == "thread_exits") std::thread(exit).detach();
  if (kind.ends_with("_exception") || kind.starts_with("thread_") || kind == "posted_exit_while_it_waits") {
    co_await weir::sleep(1s);
  }
  // It has returned.
  if (kind == "posted_crash") asio::post(loop, null_pointer);
  if (kind == "posted_exit") asio::post(loop, exit);
  if (kind == "timer_crash") soon(loop, 2ms, null_pointer);
  if (kind == "spawned_crash") asio::co_spawn(loop, after(2ms, null_pointer), say_loudly);
  if (kind == "late_thread") {
    std::thread([] {
      std::this_thread::sleep_for(2ms);
      abort();
    }).detach();
  }
  if (kind == "closed_files") ::syscall(SYS_close_range, 0U, ~0U, 0U);
  if (kind == "alarm") ::ualarm(2000, 0);
}

void crash_of_its_own(const std::string& while_there, std::chrono::milliseconds after) {
  std::thread([while_there, after] {
    std::this_thread::sleep_for(after);
    if (::access(while_there.c_str(), F_OK) == 0) abort();
  }).detach();
}

}  // namespace poison
