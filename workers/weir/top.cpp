/// The terminal of `weir top`. It asks the broker in a thread of its own, reads keys, and draws.

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "ask.hpp"
#include "choice.hpp"
#include "commands.hpp"
#include "table.hpp"
#include "top_screen.hpp"
#include "weir/deployment/keys.hpp"

namespace weir::cli {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(STDOUT_FILENO, text.data(), text.size());
    if (wrote <= 0) return;  // the terminal is gone: SIGHUP ends this process
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

/// Takes the whole terminal, without echo, as long as it lives.
class WholeTerminal {
 public:
  WholeTerminal() {
    tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // a stopped process would leave a blank terminal
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    write_all("\x1b[?1049h\x1b[?25l\x1b[2J");
  }
  ~WholeTerminal() {
    write_all("\x1b[?25h\x1b[?1049l");
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  WholeTerminal(const WholeTerminal&) = delete;
  WholeTerminal& operator=(const WholeTerminal&) = delete;

  [[nodiscard]] static Top::Size size() {
    winsize found{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0 || found.ws_col == 0 || found.ws_row == 0) return {};
    return {found.ws_col, found.ws_row};
  }

 private:
  termios before_{};
};

/// Asks again and again. The caller waits on `ready()`, and takes the answers.
class Watcher {
 public:
  Watcher(std::string engine, Duration every)
      : engine_(std::move(engine)), every_(every), ready_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  ~Watcher() {
    thread_.request_stop();
    wake_.notify_all();
    thread_.join();
    close(ready_);
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  [[nodiscard]] int ready() const { return ready_; }
  void tell(Top& top) {
    eventfd_t ignored{};
    eventfd_read(ready_, &ignored);
    const std::lock_guard lock(mutex_);
    if (seen_) top.saw(std::move(*seen_));
    seen_.reset();
    if (!problem_.empty()) top.failed(std::move(problem_));
    problem_.clear();
  }

 private:
  void run(const std::stop_token& stop) {
    std::unique_ptr<Asker> asker;
    while (!stop.stop_requested()) {
      std::optional<Seen> seen;
      std::string problem;
      try {
        if (asker == nullptr) asker = std::make_unique<Asker>(engine_, std::chrono::seconds(1));
        seen = Seen{asker->queues(), asker->workers(), steady_seconds()};
      } catch (const Error&) {
        asker.reset();
        problem = "no broker answers";
      }
      std::unique_lock lock(mutex_);
      seen_ = std::move(seen);
      problem_ = std::move(problem);
      eventfd_write(ready_, 1);
      wake_.wait_for(lock, stop, every_, [] { return false; });
    }
  }

  std::string engine_;
  Duration every_;
  int ready_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::optional<Seen> seen_;
  std::string problem_;
  std::jthread thread_;
};

/// Returns false if `weir top` should end.
bool press(Top& top, std::string_view typed) {
  using Key = Top::Key;
  constexpr std::pair<std::string_view, Key> sequences[] = {
      {"\x1b[A", Key::up},       {"\x1b[B", Key::down},       {"\x1bOA", Key::up},   {"\x1bOB", Key::down},
      {"\x1b[5~", Key::page_up}, {"\x1b[6~", Key::page_down}, {"\x1b[H", Key::home}, {"\x1b[F", Key::end},
      {"\x1b[1~", Key::home},    {"\x1b[4~", Key::end},       {"\x1b", Key::escape}, {"\t", Key::tab},
      {"\n", Key::enter},        {"\r", Key::enter},          {"\x7f", Key::erase},  {"\b", Key::erase}};
  constexpr std::pair<char, Key> letters[] = {{'s', Key::sort}, {'r', Key::reverse}, {'/', Key::search},
                                              {'k', Key::up},   {'j', Key::down},    {' ', Key::page_down},
                                              {'g', Key::home}, {'G', Key::end}};
  while (!typed.empty()) {
    std::size_t length = 1;
    const auto sequence =
        std::ranges::find_if(sequences, [&](const auto& one) { return typed.starts_with(one.first); });
    const auto letter = std::ranges::find(letters, typed.front(), &std::pair<char, Key>::first);
    if (sequence != std::end(sequences)) {
      top.press(sequence->second);
      length = sequence->first.size();
    } else if (top.is_typing()) {
      if (static_cast<unsigned char>(typed.front()) >= 0x20) top.type(typed.front());
    } else if (typed.front() == 'q') {
      return false;
    } else if (letter != std::end(letters)) {
      top.press(letter->second);
    }
    typed.remove_prefix(length);
  }
  return true;
}

void draw(Top& top, bool colour) {
  std::string text = "\x1b[H";
  const Top::Size size = WholeTerminal::size();
  std::size_t left = size.lines;
  for (const std::string& line : top.screen(size, colour, steady_seconds())) {
    text += line + "\x1b[K";
    if (--left > 0) text += "\r\n";
  }
  write_all(text + "\x1b[J");
}

Duration read_every(const std::string& text) {
  const deployment::Key key{.path = "--every", .kind = deployment::Kind::duration, .what = "a time"};
  const auto value = deployment::read_value(key, text);
  using namespace std::chrono_literals;
  if (!value || value->duration < 100ms || value->duration > 1h) {
    throw UsageError("--every '" + text + "': expected a time such as 1s, from 100ms to 1h");
  }
  return value->duration;
}

/// Returns the signals as a descriptor. Call it before any thread starts, as threads inherit the mask.
int signals_of(std::initializer_list<int> which) {
  sigset_t set;
  sigemptyset(&set);
  for (const int one : which) sigaddset(&set, one);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

}  // namespace

int top(const TopOptions& options) {
  if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1) {
    throw UsageError("weir top needs a terminal; for programs there is weir queues --json");
  }
  const std::string engine = choose(options.engine).engine;
  const Duration every = read_every(options.every);
  const bool colour = standard_output().colour;
  const int signals = signals_of({SIGINT, SIGTERM, SIGHUP, SIGWINCH});
  Watcher watcher(engine, every);
  const WholeTerminal terminal;
  Top top(engine);
  while (true) {
    draw(top, colour);
    pollfd waits[] = {{STDIN_FILENO, POLLIN, 0}, {watcher.ready(), POLLIN, 0}, {signals, POLLIN, 0}};
    constexpr int redrawn_ms = 1000;  // the shown ages go on
    if (poll(waits, std::size(waits), redrawn_ms) < 0 && errno != EINTR) return failed;
    if (waits[1].revents != 0) watcher.tell(top);
    if (waits[2].revents != 0) {
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof info) == sizeof info && info.ssi_signo != SIGWINCH) return done;
    }
    if (waits[0].revents != 0) {
      char typed[64];
      const ssize_t size = read(STDIN_FILENO, typed, sizeof typed);
      if (size <= 0 || !press(top, {typed, static_cast<std::size_t>(size)})) return done;
    }
  }
}

}  // namespace weir::cli
