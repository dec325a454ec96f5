// The parent. It waits, passes signals on, has a death reported, and ends leftover processes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>

#include "weir/inherited/limits.hpp"
#include "weir/inherited/stop_words.hpp"
#include "weir/message/error.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/freezes.hpp"
#include "weir/worker/leftovers.hpp"
#include "weir/worker/plugin_copy.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/process_state.hpp"
#include "weir/worker/recorder/life.hpp"
#include "weir/worker/recorder/recorder.hpp"
#include "weir/worker/start_child.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

using Clock = std::chrono::steady_clock;

/// Added to drain + 5 s, after which the child ends by itself.
constexpr auto stop_slack = std::chrono::seconds(10);
/// The limit after a second signal, which asks for a fast end.
constexpr Duration report_limit_hurried = std::chrono::seconds(1);
/// The time that processes of handlers have after SIGTERM.
constexpr auto leftovers_grace = std::chrono::seconds(2);
constexpr int wrong_configuration = 2;

/// The needs of the child, which has the same limits: the measured ones, and some more for new connections. The needs
/// of handlers come on top.
inherited::Needs needs_of(const GroupSettings& settings) {
  return {.descriptors = 28 + 10ULL * settings.shards, .threads = 8ULL + settings.shards, .memory = Bytes{16 << 20}};
}

[[noreturn]] void fail(const char* what) { throw Error(std::string(what) + ": " + std::strerror(errno)); }

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : signals) sigaddset(&set, each);
  return set;
}

Reported reported_of(int exit_code) {
  for (const Reported each : {Reported::told, Reported::charged}) {
    if (static_cast<int>(each) == exit_code) return each;
  }
  return Reported::not_told;
}

/// Waits for children and signals. The signals are blocked and taken one by one, so nothing here is asynchronous.
class Parent {
 public:
  Parent(const GroupSettings& settings, const ChildCommands& commands) : settings_(settings), commands_(commands) {
    sigemptyset(&signals_);
    for (const int each : {SIGCHLD, SIGTSTP}) sigaddset(&signals_, each);
    for (const int each : inherited::stop_signals()) sigaddset(&signals_, each);
    sigprocmask(SIG_BLOCK, &signals_, &before_);
    ::signal(SIGTTIN, SIG_IGN);  // the child is not in its terminal's foreground, and may write its log to it
    ::signal(SIGTTOU, SIG_IGN);
    become_subreaper();
  }
  Parent(const Parent&) = delete;
  Parent& operator=(const Parent&) = delete;
  ~Parent() {
    close(recorder_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

  int run() {
    // The signals that run_child waits for are blocked from its start: a stop right after the start must drain it, not
    // kill it.
    child_ = start(commands_.work, plugin_.in_place_because().empty() ? plugin_.path().string() : "",
                   set_of({SIGTERM, SIGHUP}));
    log::info("worker_started", {{"worker", settings_.name}, {"pid", child_}});
    if (const std::string& why = plugin_.in_place_because(); !why.empty()) {
      log::info("plugin_loaded_in_place", {{"worker", settings_.name}, {"plugin", settings_.plugin}, {"why", why}});
    }
    const siginfo_t end = wait_for_worker();
    // Processes of its handlers can end while the death is reported.
    Leftovers leftovers(child_);
    leftovers.ask();
    const int code = end.si_code == CLD_EXITED ? exited(end.si_status) : killed(end.si_status);
    end_leftovers(leftovers);
    waitpid(child_, nullptr, 0);
    return code;
  }

 private:
  [[nodiscard]] pid_t start(const std::vector<std::string>& arguments, const std::string& text,
                            const sigset_t& blocked) const {
    return start_child({.executable = commands_.executable,
                        .arguments = arguments,
                        .token = token_,
                        .text = text,
                        .recorder = recorder_,
                        .plugin_lock = plugin_.lock(),
                        .blocked = blocked});
  }

  /// Returns the next signal, or 0 at `until`. Handles Ctrl-Z itself.
  int next_signal(Clock::time_point until) {
    for (;;) {
      const auto left = std::max(until - Clock::now(), Clock::duration::zero());
      timespec time{};
      time.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
      time.tv_nsec = (left % std::chrono::seconds(1)).count();
      const int got = sigtimedwait(&signals_, nullptr, &time);
      if (got == SIGTSTP) {
        stop_all_until_continued();
      } else if (got > 0) {
        return got;
      } else if (errno == EAGAIN) {
        return 0;
      } else if (errno != EINTR) {
        fail("sigtimedwait");
      }
    }
  }

  /// Stops as the terminal asks its foreground processes to. The child is not one of them.
  void stop_all_until_continued() {
    const auto stopped_at = Clock::now();
    kill(-child_, SIGSTOP);
    raise(SIGSTOP);
    kill(-child_, SIGCONT);
    if (kill_at_) *kill_at_ += Clock::now() - stopped_at;
  }

  bool says_nothing(int signal) { return words_.hear(signal, stops_ > 0) == inherited::StopWords::Says::nothing; }

  siginfo_t wait_for_worker() {
    Freezes freezes(Clock::now());
    auto look_at = Clock::now() + Freezes::look_every;
    for (;;) {
      const int signal = next_signal(kill_at_ ? std::min(*kill_at_, look_at) : look_at);
      if (const auto end = ended()) return *end;
      const auto now = Clock::now();
      if (kill_at_ && now >= *kill_at_) {
        log::error("worker_would_not_end", {{"worker", settings_.name}, {"pid", child_}});
        kill_on_purpose();
        kill_at_.reset();
      }
      if (now >= look_at) {
        look_whether_frozen(freezes, now);
        look_at = now + Freezes::look_every;
      }
      if (signal == SIGCHLD || signal == 0 || says_nothing(signal)) continue;
      if (++stops_ == 1) {
        kill(child_, SIGTERM);
        drain_end_ = now + settings_.drain;
        kill_at_ = drain_end_ + stop_slack;
      } else {
        kill_on_purpose();
      }
    }
  }

  /// Returns how the child ended, if it has. Does not reap the child, but reaps reparented processes that have ended.
  [[nodiscard]] std::optional<siginfo_t> ended() const {
    for (;;) {
      siginfo_t end{};
      if (waitid(P_ALL, 0, &end, WEXITED | WNOHANG | WNOWAIT) != 0 || end.si_pid == 0) return std::nullopt;
      if (end.si_pid == child_) return end;
      waitpid(end.si_pid, nullptr, WNOHANG);
    }
  }

  void look_whether_frozen(Freezes& freezes, Clock::time_point now) {
    const auto state = process_state(child_);
    const pid_t tracer = tracer_of(child_);
    switch (freezes.look({.now = now,
                          .life = recorder::read_life(recorder_),
                          .is_stopped = state && (state->state == 'T' || state->state == 't'),
                          .is_traced = tracer != 0})) {
      case Freezes::Found::alive:
        break;
      case Freezes::Found::traced:
        log::warn("worker_is_traced", {{"worker", settings_.name},
                                       {"pid", child_},
                                       {"tracer", tracer},
                                       {"text", "it does not run; others have its messages until it is let go"}});
        break;
      case Freezes::Found::frozen:
        // This is not on purpose: messages whose handlers had begun are suspects, as after any SIGKILL.
        log::error("worker_is_frozen", {{"worker", settings_.name},
                                        {"pid", child_},
                                        {"for", freezes.frozen_for()},
                                        {"state", std::string(1, state ? state->state : '?')}});
        kill(child_, SIGKILL);
        break;
    }
  }

  void kill_on_purpose() {
    killed_ = true;
    kill(child_, SIGKILL);
  }

  void end_leftovers(Leftovers& leftovers) {
    const Leftovers::Ended ended = leftovers.end(stops_ > 1 ? std::chrono::seconds(0) : leftovers_grace);
    if (ended.asked == 0) return;
    log::warn("forks_ended", {{"worker", settings_.name},
                              {"processes", ended.asked},
                              {"killed", ended.killed},
                              {"left", ended.left},
                              {"text", "what a handler starts ends with its worker; start daemons elsewhere"}});
  }

  int exited(int code) {
    // It ended by Weir's own code, or by a handler's, which may exit with 0. Without a recorder it had no handler yet.
    const auto life = recorder::read_life(recorder_);
    const bool by_itself = !life || life->ending;
    // After a clean end the child said goodbye. With a wrong configuration it never held anything.
    const bool reports = !by_itself || (code != 0 && code != wrong_configuration);
    const Reported reported = reports ? report({.exit_code = code}) : Reported::told;
    log::info("worker_ended",
              {{"worker", settings_.name}, {"pid", child_}, {"exit_code", code}, {"by_itself", by_itself}});
    if (!reports) return code;
    return code_after(reported);
  }

  int killed(int signal) {
    log::error("worker_died", {{"worker", settings_.name},
                               {"pid", child_},
                               {"signal", signal},
                               {"name", strsignal(signal)},
                               {"asked", stops_ > 0}});
    return code_after(report({.signal = signal, .on_purpose = signal == SIGKILL && killed_}));
  }

  /// The exit code after a death.
  [[nodiscard]] int code_after(Reported reported) const {
    if (stops_ > 0) return 1;
    return reported == Reported::charged || recorder::has_handled(recorder_) ? exit_start_again : 1;
  }

  Reported report(Death death) {
    if (plugin_.changed_in_place()) {
      death.plugin_changed = true;
      death.with_names = false;  // the file now has another plugin's names
      log::error("plugin_was_overwritten",
                 {{"worker", settings_.name},
                  {"plugin", settings_.plugin},
                  {"text",
                   "its file changed while the worker ran it, which may be all that ended it: nobody is "
                   "charged; put a new file beside it and rename it over the old one"}});
    }
    if (const auto reported = report_once(death)) return *reported;
    death.with_names = false;
    return report_once(death).value_or(Reported::not_told);
  }

  /// How long a report is tried. After a session timeout without keep-alives the broker knows by itself. A worker that
  /// was asked to stop has no more than its drain, in which it has already looked for a lost broker.
  [[nodiscard]] Duration report_limit() const {
    const auto life = recorder::read_life(recorder_);
    const Duration known = (life ? life->session_timeout : std::nullopt).value_or(Freezes::session_timeout_default);
    if (stops_ == 0) return known;
    if (stops_ > 1) return report_limit_hurried;
    const auto left = std::chrono::duration_cast<Duration>(drain_end_ - Clock::now());
    return std::min(known, std::max(left, report_limit_hurried));
  }

  /// Returns nothing if the reporter itself died of a signal that this process did not send.
  std::optional<Reported> report_once(Death death) {
    death.limit = report_limit();
    std::vector<std::string> arguments = commands_.report;
    for (std::string& each : death.arguments()) arguments.push_back(std::move(each));
    const pid_t child = start(arguments, settings_.engine, set_of({}));
    // The reporter bounds its own time. This limit is for a reporter that hangs.
    Clock::time_point end = Clock::now() + death.limit + std::chrono::seconds(2);
    bool is_ours = false;
    for (;;) {
      const int signal = next_signal(end);
      int status = 0;
      if (waitpid(child, &status, WNOHANG) == child) {
        if (WIFEXITED(status)) return reported_of(WEXITSTATUS(status));
        return is_ours ? std::optional(Reported::not_told) : std::nullopt;
      }
      if (signal == SIGCHLD || (signal != 0 && says_nothing(signal))) continue;
      // A stop during the report: the reporter cannot hurry, so it is ended.
      kill(child, SIGKILL);
      is_ours = true;
      end = Clock::now() + std::chrono::seconds(1);
    }
  }

  const GroupSettings& settings_;
  const ChildCommands& commands_;
  const PluginCopy plugin_{settings_.plugin};
  const ProcessToken token_ = random_token();
  const int recorder_ = recorder::make_file(files_from);
  sigset_t signals_{};
  sigset_t before_{};
  pid_t child_ = 0;
  Clock::time_point drain_end_;  ///< set once the worker was asked to stop
  std::optional<Clock::time_point> kill_at_;
  int stops_ = 0;
  inherited::StopWords words_;
  bool killed_ = false;
};

}  // namespace

std::vector<std::string> Death::arguments() const {
  return {
      std::to_string(exit_code),  std::to_string(signal),
      on_purpose ? "1" : "0",     with_names ? "1" : "0",
      plugin_changed ? "1" : "0", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count())};
}

Death Death::parse(const std::vector<std::string>& arguments) {
  const auto number = [&](std::size_t from_end) {
    const std::string& text = arguments[arguments.size() - from_end];
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 0) throw Error("'" + text + "' is no number of a death report");
    return value;
  };
  if (arguments.size() < 6) {
    throw Error("a death report takes exit code, signal, on purpose, names, plugin and milliseconds");
  }
  return {.exit_code = static_cast<std::int32_t>(number(6)),
          .signal = static_cast<std::int32_t>(number(5)),
          .on_purpose = number(4) != 0,
          .with_names = number(3) != 0,
          .plugin_changed = number(2) != 0,
          .limit = std::chrono::milliseconds(number(1))};
}

int run_parent(const GroupSettings& settings, const ChildCommands& commands) {
  inherited::need("weir worker " + settings.name, needs_of(settings));
  return Parent(settings, commands).run();
}

}  // namespace weir::worker
