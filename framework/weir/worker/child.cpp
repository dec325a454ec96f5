// The child: the plugin, the shards, and two signals.
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <stop_token>
#include <thread>

#include "weir/async/forked_copy.hpp"
#include "weir/handler/plugin_file.hpp"
#include "weir/inherited/hang_up.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/offload_lines.hpp"
#include "weir/worker/plugin_library.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/recorder/marks.hpp"
#include "weir/worker/run.hpp"
#include "weir/worker/spawned.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

/// The state that the handler of stop signals writes. It is global, as a signal handler can reach nothing else.
struct StopRequest {
  sem_t posted{};
  std::atomic<int> terms{0};  ///< how often SIGTERM came
  std::atomic<pid_t> owner{0};
};
StopRequest stop_request;

constexpr std::array stop_signals{SIGTERM, SIGHUP};
/// The signals that Weir takes or ignores. Programs that handlers start have the defaults: they end and stop as any
/// process does.
constexpr std::array weirs_own{SIGTERM, SIGHUP, SIGINT, SIGTTIN, SIGTTOU, SIGURG, SIGPIPE};

/// True if any of the standard streams is a terminal.
bool has_terminal() { return isatty(0) == 1 || isatty(1) == 1 || isatty(2) == 1; }

void on_stop_signal(int signal) {
  const int error = errno;
  if (getpid() == stop_request.owner) {
    if (signal == SIGTERM) ++stop_request.terms;
    sem_post(&stop_request.posted);
  } else {
    _exit(128 + signal);  // a copy made without pthread_atfork's handlers, by vfork or clone
  }
  errno = error;
}

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

/// Turns SIGTERM (and the death of the parent, which sends it) into a stop; a second one ends the process at once.
///
/// SIGHUP stops it too, but does not count as a second signal: the kernel sends it, before or after the parent's
/// SIGTERM, to a group that lost its last parent and has a stopped process in it.
///
/// The signals are taken, not blocked: programs that a handler starts inherit the mask, and must end by SIGTERM. No
/// call of a handler is interrupted by that: the kernel gives a process's signals to its main thread, which runs no
/// handler.
class StopSignals {
 public:
  explicit StopSignals(recorder::Recorder& record) : record_(record) {
    sem_init(&stop_request.posted, 0, 0);
    stop_request.owner = getpid();
    set_handler(SIGTERM, on_stop_signal);
    if (inherited::hang_up() != inherited::HangUp::ignored) set_handler(SIGHUP, on_stop_signal);
    // The terminal's Ctrl-C: the parent gets it, and stops this process. It is not ignored, so that exec makes it the
    // default again.
    set_handler(SIGINT, [](int) {});
    // A process in a terminal's background that writes to it must ignore these signals. Without a terminal they have
    // their defaults.
    if (!has_terminal()) {
      ::signal(SIGTTIN, SIG_DFL);
      ::signal(SIGTTOU, SIG_DFL);
    }
    static const sigset_t defaults = [] {
      sigset_t made;
      sigemptyset(&made);
      for (const int each : weirs_own) sigaddset(&made, each);
      return made;
    }();
    default_in_what_is_spawned(defaults);
    pthread_atfork(nullptr, nullptr, [] {
      for (const int each : weirs_own) ::signal(each, SIG_DFL);
    });
    sigset_t set;
    sigemptyset(&set);
    for (const int each : stop_signals) sigaddset(&set, each);
    waiter_ = std::thread([this] { wait(); });
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // blocked since the start of the process
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    done_ = true;
    sem_post(&stop_request.posted);
    waiter_.join();
  }
  [[nodiscard]] std::stop_token token() const { return stop_.get_token(); }

 private:
  void wait() {
    for (;;) {
      while (sem_wait(&stop_request.posted) != 0) {
      }
      if (done_) return;
      if (stop_request.terms > 1) {
        log::warn("stopped_at_once", {{"signal", SIGTERM}});
        record_.ending();
        std::_Exit(1);
      }
      stop_.request_stop();
    }
  }

  recorder::Recorder& record_;
  std::stop_source stop_;
  std::atomic<bool> done_{false};
  std::thread waiter_;
};

/// Notes that the process ends by Weir's own code, not by a handler's. Programs that handlers started end too: the
/// parent ends them. If the parent died before, at least the process group is told; a program that left the group is
/// not found.
class EndsByItself {
 public:
  explicit EndsByItself(recorder::Recorder& record) : record_(record) {}
  EndsByItself(const EndsByItself&) = delete;
  EndsByItself& operator=(const EndsByItself&) = delete;
  ~EndsByItself() { now(); }
  void now() {
    record_.ending();
    if (getppid() == parent_ || getpgrp() != getpid()) return;
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    kill(0, SIGCONT);  // wakes stopped programs too
  }

 private:
  recorder::Recorder& record_;
  const pid_t parent_ = getppid();
};

}  // namespace

int run_child(const GroupSettings& settings) {
  const auto [process, plugin_copy] = take_over(token_fd);
  fcntl(plugin_fd, F_SETFD, FD_CLOEXEC);  // programs that handlers start do not keep it
  // Never freed: a handler that would not end writes into it until the process ends.
  auto& record = *new recorder::Recorder(recorder_size(settings), recorder_fd);
  log::copy_to([](void* into, std::string_view line) { static_cast<recorder::Recorder*>(into)->log(line); }, &record);
  recorder::install(record);
  async::watch_forks();
  recorder::make_known();
  // In each way in which this code ends the process, no handler caused it.
  EndsByItself by_itself(record);
  const StopSignals signals(record);
  try {
    const RegisterPlugin plugin = load_plugin(settings.plugin, plugin_copy);
    record_offloads();
    recorder::mark_exits();
    const Ended ended = run(settings, process, plugin, signals.token(), record);
    if (!ended.failure.empty()) log::last_words("weir worker " + settings.name, ended.failure);
    if (!ended.joined) {
      by_itself.now();
      std::_Exit(ended.exit_code());  // a handler's code still runs: nothing that it may use is destroyed
    }
    return ended.exit_code();
  } catch (const handler::PluginError& error) {
    log::last_words("weir worker " + settings.name, error.what());
    return 2;
  }
}

}  // namespace weir::worker
