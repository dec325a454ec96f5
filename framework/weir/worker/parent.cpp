// The parent: fork, wait, pass signals on, have a death reported.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>

#include "weir/message/error.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/recorder/record.hpp"
#include "weir/worker/recorder/recorder.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

using Clock = std::chrono::steady_clock;

/// Beyond drain + 5 s, by when the child ends itself.
constexpr auto stop_slack = std::chrono::seconds(10);
/// The broker's default; with keep-alives missing for so long it knows by itself.
constexpr Duration report_limit = std::chrono::seconds(10);
/// After a second signal, nobody wants to wait.
constexpr Duration report_limit_hurried = std::chrono::seconds(1);

[[noreturn]] void fail(const char* what) { throw Error(std::string(what) + ": " + std::strerror(errno)); }

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : signals) sigaddset(&set, each);
  return set;
}

/// Above what a child finds its own at.
constexpr int files_from = 10;

/// Fork + exec, with these signals blocked; the token goes through a pipe, seen by nobody else.
pid_t start(const std::string& executable, const std::vector<std::string>& arguments, const ProcessToken& token,
            int recorder, const sigset_t& blocked) {
  // All that allocates, before the fork.
  std::vector<char*> argv{const_cast<char*>("weir")};
  for (const std::string& each : arguments) argv.push_back(const_cast<char*>(each.c_str()));
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
  const int token_end = fcntl(ends[0], F_DUPFD_CLOEXEC, files_from);
  if (token_end < 0) fail("dup");
  close(ends[0]);
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    // A group of its own: the terminal's Ctrl-C is the parent's to hear. And no life after the parent's.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != self) _exit(1);
    sigprocmask(SIG_SETMASK, &blocked, nullptr);
    signal(SIGPIPE, SIG_DFL);
    dup2(token_end, token_fd);
    dup2(recorder, recorder_fd);
    execv(executable.c_str(), argv.data());
    _exit(127);
  }
  close(token_end);
  write_token(ends[1], token);
  close(ends[1]);
  return child;
}

/// Waits for children and signals. The signals are blocked and taken one by one: nothing here is asynchronous.
class Parent {
 public:
  Parent(const GroupSettings& settings, const ChildCommands& commands) : settings_(settings), commands_(commands) {
    sigemptyset(&signals_);
    for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&signals_, each);
    sigprocmask(SIG_BLOCK, &signals_, &before_);
    ::signal(SIGPIPE, SIG_IGN);  // a child may be gone before it took its token
  }
  Parent(const Parent&) = delete;
  Parent& operator=(const Parent&) = delete;
  ~Parent() {
    close(recorder_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

  int run() {
    // What run_child waits for is blocked from birth: a stop right after the start must drain it, not kill it.
    const pid_t child = start(commands_.executable, commands_.work, token_, recorder_, set_of({SIGTERM, SIGHUP}));
    log::info("worker_started", {{"worker", settings_.name}, {"pid", child}});
    const int status = wait_for_worker(child);
    if (WIFEXITED(status)) {
      const int code = WEXITSTATUS(status);
      // By Weir's own code, or by that of a handler, which may say 0?
      const bool by_itself = ended_by_itself().value_or(true);
      // After a clean end it said goodbye; after a wrong configuration it never held anything.
      if (!by_itself || (code != 0 && code != 2)) report({.exit_code = code});
      log::info("worker_ended",
                {{"worker", settings_.name}, {"pid", child}, {"exit_code", code}, {"by_itself", by_itself}});
      return code == 127 || !by_itself ? 1 : code;
    }
    const int signal = WTERMSIG(status);
    log::error("worker_died", {{"worker", settings_.name},
                               {"pid", child},
                               {"signal", signal},
                               {"name", strsignal(signal)},
                               {"asked", stops_ > 0}});
    report({.signal = signal, .on_purpose = signal == SIGKILL && killed_});
    return 1;
  }

 private:
  /// The next signal, or 0 at `until`.
  int next_signal(std::optional<Clock::time_point> until) {
    for (;;) {
      int got;
      if (until) {
        const auto left = std::max(*until - Clock::now(), Clock::duration::zero());
        timespec time{};
        time.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
        time.tv_nsec = (left % std::chrono::seconds(1)).count();
        got = sigtimedwait(&signals_, nullptr, &time);
      } else {
        got = sigwaitinfo(&signals_, nullptr);
      }
      if (got > 0) return got;
      if (errno == EAGAIN) return 0;
      if (errno != EINTR) fail("sigtimedwait");
    }
  }

  static std::optional<int> reap(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) != child || WIFSTOPPED(status)) return std::nullopt;
    return status;
  }

  int wait_for_worker(pid_t child) {
    std::optional<Clock::time_point> kill_at;
    for (;;) {
      const int signal = next_signal(kill_at);
      if (const auto status = reap(child)) return *status;
      if (signal == SIGCHLD) continue;
      if (signal == 0) {
        log::error("worker_would_not_end", {{"worker", settings_.name}, {"pid", child}});
        kill_on_purpose(child);
        kill_at.reset();
      } else if (++stops_ == 1) {
        kill(child, SIGTERM);
        kill_at = Clock::now() + settings_.drain + stop_slack;
      } else {
        kill_on_purpose(child);
      }
    }
  }

  void kill_on_purpose(pid_t child) {
    killed_ = true;
    kill(child, SIGKILL);
  }

  [[nodiscard]] std::optional<bool> ended_by_itself() const {
    std::array<std::byte, recorder::header_bytes> header{};
    const ssize_t got = pread(recorder_, header.data(), header.size(), 0);
    return recorder::ended_by_itself(std::span(header).first(static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
  }

  void report(Death death) {
    if (report_once(death)) return;
    death.with_names = false;
    (void)report_once(death);
  }

  /// False if the reporter itself died of a signal that was not ours.
  bool report_once(Death death) {
    death.limit = stops_ > 1 ? report_limit_hurried : report_limit;
    std::vector<std::string> arguments = commands_.report;
    for (std::string& each : death.arguments()) arguments.push_back(std::move(each));
    const pid_t child = start(commands_.executable, arguments, token_, recorder_, set_of({}));
    // It bounds itself; this is for one that hangs.
    Clock::time_point end = Clock::now() + death.limit + std::chrono::seconds(2);
    bool is_ours = false;
    for (;;) {
      const int signal = next_signal(end);
      if (const auto status = reap(child)) return is_ours || WIFEXITED(*status);
      if (signal == SIGCHLD) continue;
      // A stop while reporting: the child knows how to hurry no better than by ending.
      kill(child, SIGKILL);
      is_ours = true;
      end = Clock::now() + std::chrono::seconds(1);
    }
  }

  const GroupSettings& settings_;
  const ChildCommands& commands_;
  const ProcessToken token_ = random_token();
  const int recorder_ = recorder::make_file(files_from);
  sigset_t signals_{};
  sigset_t before_{};
  int stops_ = 0;
  bool killed_ = false;
};

}  // namespace

std::vector<std::string> Death::arguments() const {
  return {std::to_string(exit_code), std::to_string(signal), on_purpose ? "1" : "0", with_names ? "1" : "0",
          std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count())};
}

Death Death::parse(const std::vector<std::string>& arguments) {
  const auto number = [&](std::size_t from_end) {
    const std::string& text = arguments[arguments.size() - from_end];
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 0) throw Error("'" + text + "' is no number of a death report");
    return value;
  };
  if (arguments.size() < 5) throw Error("a death report takes exit code, signal, on purpose, names and milliseconds");
  return {.exit_code = static_cast<std::int32_t>(number(5)),
          .signal = static_cast<std::int32_t>(number(4)),
          .on_purpose = number(3) != 0,
          .with_names = number(2) != 0,
          .limit = std::chrono::milliseconds(number(1))};
}

int run_parent(const GroupSettings& settings, const ChildCommands& commands) {
  return Parent(settings, commands).run();
}

}  // namespace weir::worker
