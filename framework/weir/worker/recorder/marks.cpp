#include "weir/worker/recorder/marks.hpp"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <span>
#include <thread>

namespace weir::worker::recorder {
namespace {

using namespace std::chrono_literals;

/// The signals that end a process because of its own code. Not SIGPIPE: a write without a reader fails, and does not
/// end the process.
constexpr std::array deadly{SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGTRAP};
constexpr int stack_signal = SIGURG;
constexpr std::size_t handler_stack_bytes = 64 * 1024;
/// The frames of the signal handler itself, before the interrupted one.
constexpr std::size_t handler_frames = 8;

std::atomic<Recorder*> recorder{nullptr};
/// The process that the recorder belongs to. A handler may fork, and the end of the fork is not this process's death.
std::atomic<pid_t> owner{0};
thread_local Own own_lines;

std::int64_t steady_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // the clock of steady_clock; safe in a signal handler
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::uint64_t pc_of(const void* context) {
  const auto* const at = static_cast<const ucontext_t*>(context);
#if defined(__x86_64__)
  return static_cast<std::uint64_t>(at->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return at->uc_mcontext.pc;
#else
  (void)at;
  return 0;
#endif
}

/// Takes the frames of the interrupted code, without the signal handler's. glibc's backtrace() is safe here once it has
/// been called before, as its first call loads libgcc.
template <class Store>
std::uint32_t take_frames(const void* context, const Store& store) {
  std::array<void*, frames_most + handler_frames> all{};
  const std::uint64_t pc = pc_of(context);
  const auto count = static_cast<std::size_t>(std::max(0, backtrace(all.data(), static_cast<int>(all.size()))));
  std::size_t first = 0;
  while (first < count && reinterpret_cast<std::uint64_t>(all[first]) != pc) ++first;
  store(0, pc);
  std::size_t kept = 1;
  // If the program counter is not among the frames, the code jumped to a place without code, and the unwinder found
  // only the handler's frames.
  for (std::size_t i = first + 1; i < count && kept < frames_most; ++i) {
    store(kept++, reinterpret_cast<std::uint64_t>(all[i]));
  }
  return static_cast<std::uint32_t>(kept);
}

/// A stack that one thread asks for, and another fills in its signal handler.
struct Capture {
  enum State : std::uint32_t { idle, asked, writing, done };
  std::atomic<std::uint32_t> state{idle};
  std::atomic<std::int32_t> thread{0};
  std::atomic<std::uint32_t> count{0};
  std::array<std::atomic<std::uint64_t>, frames_most> frames{};
};
Capture capture;

void on_stack_signal(int, siginfo_t*, void* context) {
  const int error = errno;
  auto state = std::uint32_t{Capture::asked};
  if (own_lines.line != nullptr && capture.thread.load() == own_lines.line->thread.load() &&
      capture.state.compare_exchange_strong(state, Capture::writing)) {
    capture.count = take_frames(
        context, [](std::size_t i, std::uint64_t frame) { capture.frames[i].store(frame, std::memory_order_relaxed); });
    capture.state.store(Capture::done, std::memory_order_release);
  }
  errno = error;
}

/// Fills in what `line` runs at this moment.
void fill_running(Recorder& of, ThreadLine& line) {
  const std::uint64_t running = line.running;
  line.mark.running = running;
  const auto slot = static_cast<std::uint32_t>(running);
  line.mark.slot_state = slot != 0 && slot <= of.shape().all_slots() ? of.slot(slot - 1).state.load() : 0;
}

void on_deadly_signal(int signal, siginfo_t* info, void* context) {
  Recorder& into = *recorder.load();
  ThreadLine& line = own_lines.line != nullptr ? *own_lines.line : into.others();
  Mark& mark = line.mark;
  auto none = static_cast<std::uint32_t>(MarkKind::none);
  if (getpid() == owner && (mark.kind.compare_exchange_strong(none, static_cast<std::uint32_t>(MarkKind::writing)) ||
                            none == static_cast<std::uint32_t>(MarkKind::stuck))) {
    mark.signal = signal;
    mark.code = info->si_code;
    const bool sent = info->si_code <= 0;
    const pid_t sender = sent ? info->si_pid : getpid();
    mark.sender = sender == getpid() ? 0 : sender == 0 ? -1 : sender;
    mark.address = sent ? 0 : reinterpret_cast<std::uint64_t>(info->si_addr);
    mark.at = steady_ns();
    fill_running(into, line);
    mark.frames[0] = pc_of(context);
    mark.frame_count = 1;
    // All facts that name the culprit are written. A second fault from here on may end the process.
    mark.frame_count = take_frames(
        context, [&](std::size_t i, std::uint64_t frame) { mark.frames[i].store(frame, std::memory_order_relaxed); });
    mark.kind = static_cast<std::uint32_t>(MarkKind::signal);
    into.save_map();
    into.sample();
  }
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  raise(signal);  // it stays blocked until this function returns
}

/// Takes the frames of this thread, the caller's caller first.
std::uint32_t take_frames_here(Mark& mark) {
  std::array<void*, frames_most + 2> all{};
  const auto count = static_cast<std::size_t>(std::max(0, backtrace(all.data(), static_cast<int>(all.size()))));
  std::uint32_t kept = 0;
  for (std::size_t i = 2; i < count && kept < frames_most; ++i)
    mark.frames[kept++] = reinterpret_cast<std::uint64_t>(all[i]);
  return kept;
}

void on_exit_called(int status, void*) {
  Recorder& into = *recorder.load();
  if (getpid() != owner || into.is_ending()) return;
  // Without a line it is a callback's thread, or one of the plugin's own. Its handler is unknown, but no other thread's
  // code called exit.
  ThreadLine& line = own_lines.line != nullptr ? *own_lines.line : into.others();
  Mark& mark = line.mark;
  mark.at = steady_ns();
  fill_running(into, line);
  mark.frame_count = take_frames_here(mark);
  mark.kind = static_cast<std::uint32_t>(MarkKind::exited);
  into.save_map();
  into.sample();
  _exit(status);
}

/// This thread's stack for signal handlers, with a guard page below.
class HandlerStack {
 public:
  HandlerStack() {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    bytes_ = handler_stack_bytes + page;
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (at == MAP_FAILED) return;  // then an overflow still has its message, but no stack
    memory_ = static_cast<char*>(at);
    mprotect(memory_, page, PROT_NONE);
    stack_t stack{};
    stack.ss_sp = memory_ + page;
    stack.ss_size = handler_stack_bytes;
    sigaltstack(&stack, nullptr);
  }
  HandlerStack(const HandlerStack&) = delete;
  HandlerStack& operator=(const HandlerStack&) = delete;
  ~HandlerStack() {
    if (memory_ == nullptr) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
    munmap(memory_, bytes_);
  }

 private:
  char* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

void set_handler(int signal, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install(Recorder& into) {
  void* first[1];
  (void)backtrace(first, 1);  // the first call loads libgcc
  owner = getpid();
  recorder = &into;
  for (const int signal : deadly) set_handler(signal, on_deadly_signal, 0);
  set_handler(stack_signal, on_stack_signal, SA_RESTART);
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, stack_signal);
  pthread_sigmask(SIG_BLOCK, &ours, nullptr);
}

bool is_installed() { return recorder.load() != nullptr; }

void mark_exits() {
  if (!is_installed()) return;
  // One for each thread that runs handlers: while one thread is in on_exit_called, another that calls exit() gets the
  // next one.
  for (std::size_t i = 0; i < recorder.load()->threads().size(); ++i) on_exit(on_exit_called, nullptr);
}

void make_known() {
  if (!is_installed()) return;
  static thread_local const HandlerStack stack;
  sigset_t taken;
  sigemptyset(&taken);
  sigaddset(&taken, stack_signal);
  for (const int signal : deadly) sigaddset(&taken, signal);
  pthread_sigmask(SIG_UNBLOCK, &taken, nullptr);
}

void set_own(Own of_this_thread) {
  if (of_this_thread.line != nullptr) {
    static thread_local const auto id = static_cast<std::int32_t>(syscall(SYS_gettid));
    of_this_thread.line->thread.store(id, std::memory_order_relaxed);
  }
  own_lines = of_this_thread;
}

Own own() { return own_lines; }

std::vector<std::uint64_t> stack_of(const ThreadLine& of) {
  const std::int32_t thread = of.thread.load();
  if (!is_installed() || thread == 0) return {};
  capture.thread = thread;
  capture.state = Capture::asked;
  if (syscall(SYS_tgkill, getpid(), thread, stack_signal) != 0) return {};
  const auto end = std::chrono::steady_clock::now() + 100ms;
  while (capture.state.load(std::memory_order_acquire) != Capture::done) {
    auto state = std::uint32_t{Capture::asked};
    // Once the other thread writes, it also finishes.
    if (std::chrono::steady_clock::now() > end && capture.state.compare_exchange_strong(state, Capture::idle))
      return {};
    std::this_thread::sleep_for(200us);
  }
  std::vector<std::uint64_t> frames;
  for (std::uint32_t i = 0; i < capture.count; ++i) frames.push_back(capture.frames[i]);
  return frames;
}

void mark_stuck(ThreadLine& of, const OnCpu& on_cpu, bool waits, const std::vector<std::uint64_t>& frames) {
  Mark& mark = of.mark;
  auto none = static_cast<std::uint32_t>(MarkKind::none);
  if (!mark.kind.compare_exchange_strong(none, static_cast<std::uint32_t>(MarkKind::writing))) return;
  mark.at = steady_ns();
  mark.running = on_cpu.running;
  mark.slot_state = on_cpu.slot_state;
  mark.code = waits ? 1 : 0;
  mark.frame_count = static_cast<std::uint32_t>(std::min(frames.size(), frames_most));
  for (std::uint32_t i = 0; i < mark.frame_count; ++i) mark.frames[i] = frames[i];
  mark.kind = static_cast<std::uint32_t>(MarkKind::stuck);
}

}  // namespace weir::worker::recorder
