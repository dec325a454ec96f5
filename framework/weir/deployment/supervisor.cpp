#include "weir/deployment/supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "weir/inherited/stop_words.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/process.hpp"

namespace weir::deployment {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr Duration restart_first = 100ms;
/// The pause is short, as others wait for the process, and its start alone takes longer.
constexpr Duration restart_dealt_with = std::chrono::milliseconds(20);
constexpr Duration restart_most = 10s;
constexpr Duration restart_forgotten_after = 30s;
constexpr Duration signal_is_no_fault_after = 1s;
constexpr Duration ready_asked_every = 50ms;
/// A broker with a large backlog may need longer to open its store. Workers then wait for it by themselves.
constexpr Duration ready_within = 10s;
/// After a second Ctrl-C a worker's parent ends its child itself, so that no message becomes a suspect.
constexpr Duration last_second = 1s;
constexpr int wrong_configuration = 2;

struct Child {
  Process process;
  pid_t pid = 0;  ///< 0: not running
  bool ready = false;
  bool was_ready = false;  ///< in any of its lives
  int starts = 0;
  /// Another process answered before this one ever ran (a broker on the same port). An answer proves nothing then.
  bool impersonated = false;
  Clock::time_point started;
  RestartDelay delay;
  std::optional<Clock::time_point> restart_at;
  std::optional<Clock::time_point> kill_at;
};

/// Replaces the forked child by this same program. Makes only calls that are safe between fork and exec.
[[noreturn]] void become(char* const* arguments, pid_t parent, const sigset_t& signals) {
  // A group of its own, so that the terminal's Ctrl-C goes to the supervisor alone, and the group can be killed as one.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  // The parent may have died before prctl: then no signal will come.
  if (getppid() != parent) _exit(1);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  execv("/proc/self/exe", arguments);
  _exit(127);
}

class Supervisor {
 public:
  explicit Supervisor(std::vector<Process> processes) {
    for (Process& process : processes) children_.push_back({.process = std::move(process)});
    std::ranges::stable_sort(children_, {}, [](const Child& child) { return child.process.stage; });
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGCHLD, SIGTSTP}) sigaddset(&signals, signal);
    for (const int signal : inherited::stop_signals()) sigaddset(&signals, signal);
    sigprocmask(SIG_BLOCK, &signals, &signals_before_);
    signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) throw Error(std::string("signalfd: ") + std::strerror(errno));
    // Children inherit this: none is in the terminal's foreground, and each writes its log to the terminal.
    std::signal(SIGTTIN, SIG_IGN);
    std::signal(SIGTTOU, SIG_IGN);
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() {
    close(signals_);
    sigprocmask(SIG_SETMASK, &signals_before_, nullptr);
  }

  int run() {
    started_ = Clock::now();
    while (true) {
      const auto now = Clock::now();
      reap(now);
      ask_whether_ready();
      if (stopping_) {
        if (std::ranges::none_of(children_, [](const Child& child) { return child.pid != 0; })) return exit_code_;
        stop_next_stage(now);
      } else {
        start_what_is_due(now);
      }
      kill_what_is_late(now);
      wait(now);
    }
  }

 private:
  void start(Child& child, Clock::time_point now) {
    std::vector<char*> arguments{const_cast<char*>("weir")};
    for (std::string& argument : child.process.arguments) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    if (!child.was_ready && child.process.is_ready) child.impersonated = child.process.is_ready();
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) become(arguments.data(), parent, signals_before_);
    child.restart_at.reset();
    if (pid < 0) {
      const Duration pause = child.delay.after({.exit_code = 1});
      log::error("process_not_started",
                 {{"process", child.process.name}, {"error", std::strerror(errno)}, {"again_in", pause}});
      child.restart_at = now + pause;
      return;
    }
    // Set here too, so that it holds before the child has run.
    setpgid(pid, pid);
    child.pid = pid;
    ++child.starts;
    child.started = now;
    child.ready = !child.process.is_ready;
    child.was_ready = child.was_ready || child.ready;
    log::info("process_started", {{"process", child.process.name}, {"pid", pid}});
  }

  /// Starts processes stage by stage: those that have never run, and those that are to run again.
  void start_what_is_due(Clock::time_point now) {
    const bool waited_enough = now - started_ > ready_within;
    int reached = children_.empty() ? 0 : children_.front().process.stage;
    bool all_ready = true;
    for (Child& child : children_) {
      if (child.process.stage != reached) {
        if (!all_ready && !waited_enough) return;
        reached = child.process.stage;
        all_ready = true;
      }
      const bool never_ran = child.started == Clock::time_point{} && !child.restart_at;
      if (child.pid == 0 && (never_ran || (child.restart_at && *child.restart_at <= now))) start(child, now);
      all_ready = all_ready && child.was_ready;
    }
  }

  void ask_whether_ready() {
    for (Child& child : children_) {
      if (child.pid == 0 || child.ready || child.impersonated) continue;
      if (child.process.is_ready()) child.ready = child.was_ready = true;
    }
  }

  void reap(Clock::time_point now) {
    int status = 0;
    while (true) {
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      const auto child = std::ranges::find(children_, pid, &Child::pid);
      if (child != children_.end()) ended(*child, status, now);
    }
  }

  void ended(Child& child, int status, Clock::time_point now) {
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    const auto ran = std::chrono::duration_cast<Duration>(now - child.started);
    child.pid = 0;
    child.kill_at.reset();
    if (stopping_) {
      log::info("process_stopped", {{"process", child.process.name}, {"exit", code}, {"signal", signal}});
      // A process that died of our SIGTERM was so young that it did not handle signals yet, and held nothing.
      if (status != 0 && signal != SIGTERM) exit_code_ = std::max(exit_code_, 1);
      return;
    }
    if (code == wrong_configuration && child.starts == 1) {
      log::error("process_refused_its_configuration", {{"process", child.process.name}, {"exit", code}});
      return stop(wrong_configuration);
    }
    if (!child.was_ready && child.process.stage == children_.front().process.stage) {
      log::error("process_never_came_up", {{"process", child.process.name}, {"exit", code}, {"signal", signal}});
      return stop(1);
    }
    const Duration pause = child.delay.after({.exit_code = code, .signal = signal, .ran = ran});
    child.restart_at = now + pause;
    child.ready = false;
    if (code == wrong_configuration) {
      log::error("process_refused_its_configuration",
                 {{"process", child.process.name},
                  {"exit", code},
                  {"restart_in", pause},
                  {"text",
                   "its own line above says what is wrong; it worked when it was started first, so mend that "
                   "and it goes on; the others do meanwhile"}});
      return;
    }
    log::warn(
        "process_died",
        {{"process", child.process.name}, {"exit", code}, {"signal", signal}, {"ran", ran}, {"restart_in", pause}});
  }

  void stop(int exit_code) {
    exit_code_ = std::max(exit_code_, exit_code);
    stopping_ = true;
  }

  /// Asks the highest stage that still runs to end. The stages below wait for it.
  void stop_next_stage(Clock::time_point now) {
    for (Child* child : highest_stage()) {
      if (child->kill_at) continue;
      kill(child->pid, SIGTERM);
      child->kill_at = now + (at_once_ ? last_second : child->process.stop_within);
    }
  }

  std::vector<Child*> highest_stage() {
    int highest = 0;
    for (const Child& child : children_) {
      if (child.pid != 0) highest = std::max(highest, child.process.stage);
    }
    std::vector<Child*> running;
    for (Child& child : children_) {
      if (child.pid != 0 && child.process.stage == highest) running.push_back(&child);
    }
    return running;
  }

  /// Stops stage by stage here too: a worker's parent must report the end to the broker, or the messages that the
  /// worker held wait for a session timeout.
  void stop_at_once(Clock::time_point now) {
    log::warn("stopping_at_once");
    exit_code_ = std::max(exit_code_, 1);
    at_once_ = true;
    for (Child* child : highest_stage()) {
      kill(child->pid, SIGTERM);
      child->kill_at = now + last_second;
    }
  }

  void kill_what_is_late(Clock::time_point now) {
    for (Child& child : children_) {
      if (child.pid == 0 || !child.kill_at || *child.kill_at > now) continue;
      log::warn("process_killed", {{"process", child.process.name}, {"pid", child.pid}});
      kill(-child.pid, SIGKILL);  // kills its group; a worker's child notices it as any death of its parent
      child.kill_at = now + last_second;
    }
  }

  /// Handles Ctrl-Z, until `fg`. Children get no signals of the terminal, as they are groups of their own.
  void stop_all_until_continued() {
    const auto stopped_at = Clock::now();
    for (const Child& child : children_) {
      if (child.pid != 0) kill(-child.pid, SIGTSTP);  // a worker's parent stops its child too
    }
    raise(SIGSTOP);
    for (Child& child : children_) {
      if (child.pid != 0) kill(-child.pid, SIGCONT);
      if (child.kill_at) *child.kill_at += Clock::now() - stopped_at;
    }
  }

  /// Waits until a signal comes or an action is due.
  void wait(Clock::time_point now) {
    std::optional<Clock::time_point> due;
    const auto at = [&](Clock::time_point time) { due = due ? std::min(*due, time) : time; };
    for (const Child& child : children_) {
      if (child.kill_at) at(*child.kill_at);
      if (child.restart_at && !stopping_) at(*child.restart_at);
      if (child.started == Clock::time_point{} && !stopping_) at(now + ready_asked_every);
      if (child.pid != 0 && !child.ready && !child.impersonated) at(now + ready_asked_every);
    }
    int milliseconds = -1;
    if (due)
      milliseconds = static_cast<int>(std::max(0ms, std::chrono::ceil<std::chrono::milliseconds>(*due - now)) / 1ms);
    pollfd waiting{.fd = signals_, .events = POLLIN, .revents = 0};
    poll(&waiting, 1, milliseconds);
    signalfd_siginfo signal{};
    while (read(signals_, &signal, sizeof signal) == sizeof signal) {
      if (signal.ssi_signo == SIGCHLD) continue;
      if (signal.ssi_signo == SIGTSTP) {
        stop_all_until_continued();
        continue;
      }
      using Says = inherited::StopWords::Says;
      const Says says = words_.hear(static_cast<int>(signal.ssi_signo), stopping_);
      if (says == Says::stop_at_once) stop_at_once(Clock::now());
      if (says != Says::drain) continue;
      log::info("stopping", {{"signal", signal.ssi_signo}});
      stop(0);
    }
  }

  std::vector<Child> children_;  ///< in the order of stages
  sigset_t signals_before_{};
  int signals_ = -1;
  Clock::time_point started_;
  bool stopping_ = false;
  inherited::StopWords words_;
  bool at_once_ = false;  ///< a second Ctrl-C came
  int exit_code_ = 0;
};

}  // namespace

bool Ended::in_vain() const {
  // The process was so young that it did not handle signals yet.
  if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) return false;
  if (signal != 0) return ran < signal_is_no_fault_after;
  return exit_code != 0 && exit_code != worker::exit_start_again;
}

Duration RestartDelay::after(const Ended& end) {
  if (end.ran >= restart_forgotten_after || !end.in_vain()) next_ = {};
  if (end.signal == 0 && end.exit_code == worker::exit_start_again) return restart_dealt_with;
  next_ = next_ == Duration{} ? restart_first : std::min(next_ * 2, restart_most);
  return next_;
}

int supervise(std::vector<Process> processes) { return Supervisor(std::move(processes)).run(); }

}  // namespace weir::deployment
