// The parent: fork, wait, pass signals on, have a death reported.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>

#include "weir/message/error.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/recorder/life.hpp"
#include "weir/worker/recorder/recorder.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

using Clock = std::chrono::steady_clock;

/// Beyond drain + 5 s, by when the child ends itself.
constexpr auto stop_slack = std::chrono::seconds(10);
/// The broker's default, until the child knows better. With keep-alives missing for so long the broker knows of a death
/// by itself: no report is tried for longer.
constexpr Duration session_timeout_default = std::chrono::seconds(10);
/// After a second signal, nobody wants to wait.
constexpr Duration report_limit_hurried = std::chrono::seconds(1);
constexpr int wrong_configuration = 2;

[[noreturn]] void fail(const char* what) { throw Error(std::string(what) + ": " + std::strerror(errno)); }

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : signals) sigaddset(&set, each);
  return set;
}

/// Above what a child finds its own at.
constexpr int files_from = 10;

/// What goes through the pipe.
struct Handed {
  const ProcessToken& token;
  const std::string& text;
};

/// Fork + exec, with these signals blocked; the token goes through a pipe, seen by nobody else.
pid_t start(const std::string& executable, const std::vector<std::string>& arguments, const Handed& handed,
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
  hand_over(ends[1], handed.token, handed.text);
  close(ends[1]);
  return child;
}

Reported reported_of(int exit_code) {
  for (const Reported each : {Reported::told, Reported::charged, Reported::plugin_at_fault}) {
    if (static_cast<int>(each) == exit_code) return each;
  }
  return Reported::not_told;
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
    const pid_t child = start(commands_.executable, commands_.work, {token_, ""}, recorder_, set_of({SIGTERM, SIGHUP}));
    log::info("worker_started", {{"worker", settings_.name}, {"pid", child}});
    const int status = wait_for_worker(child);
    return WIFEXITED(status) ? exited(child, WEXITSTATUS(status)) : killed(child, WTERMSIG(status));
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

  int exited(pid_t child, int code) {
    // By Weir's own code, or by that of a handler, which may say 0? Without a recorder it had no handler yet.
    const auto life = recorder::read_life(recorder_);
    const bool by_itself = !life || life->ending;
    // After a clean end it said goodbye; after a wrong configuration it never held anything.
    const bool reports = !by_itself || (code != 0 && code != wrong_configuration);
    const Reported reported = reports ? report({.exit_code = code}) : Reported::told;
    log::info("worker_ended",
              {{"worker", settings_.name}, {"pid", child}, {"exit_code", code}, {"by_itself", by_itself}});
    if (!reports) return code;
    return code_after(reported);
  }

  int killed(pid_t child, int signal) {
    log::error("worker_died", {{"worker", settings_.name},
                               {"pid", child},
                               {"signal", signal},
                               {"name", strsignal(signal)},
                               {"asked", stops_ > 0}});
    return code_after(report({.signal = signal, .on_purpose = signal == SIGKILL && killed_}));
  }

  /// Of a death.
  [[nodiscard]] int code_after(Reported reported) const {
    if (stops_ > 0 || reported == Reported::plugin_at_fault) return 1;
    return reported == Reported::charged || recorder::has_handled(recorder_) ? exit_start_again : 1;
  }

  Reported report(Death death) {
    if (const auto reported = report_once(death)) return *reported;
    death.with_names = false;
    return report_once(death).value_or(Reported::not_told);
  }

  /// Nothing if the reporter itself died of a signal that was not ours.
  std::optional<Reported> report_once(Death death) {
    const auto life = recorder::read_life(recorder_);
    death.limit = stops_ > 1 ? report_limit_hurried
                             : (life ? life->session_timeout : std::nullopt).value_or(session_timeout_default);
    std::vector<std::string> arguments = commands_.report;
    for (std::string& each : death.arguments()) arguments.push_back(std::move(each));
    const pid_t child = start(commands_.executable, arguments, {token_, settings_.engine}, recorder_, set_of({}));
    // It bounds itself; this is for one that hangs.
    Clock::time_point end = Clock::now() + death.limit + std::chrono::seconds(2);
    bool is_ours = false;
    for (;;) {
      const int signal = next_signal(end);
      if (const auto status = reap(child)) {
        if (WIFEXITED(*status)) return reported_of(WEXITSTATUS(*status));
        return is_ours ? std::optional(Reported::not_told) : std::nullopt;
      }
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
