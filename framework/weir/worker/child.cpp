// The child: the plugin, the shards, and two signals.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <stop_token>
#include <thread>

#include "weir/handler/plugin_file.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/offload_lines.hpp"
#include "weir/worker/plugin_library.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/recorder/marks.hpp"
#include "weir/worker/run.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

/// Turns SIGTERM (and the death of the parent, which sends it) into a stop; a second one ends the process at once.
///
/// Made before any other thread: they inherit the mask, so that no call of a handler is interrupted.
class StopSignals {
 public:
  explicit StopSignals(recorder::Recorder& record) : record_(record) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
    signal(SIGINT, SIG_IGN);  // the terminal's Ctrl-C: the parent hears it, and tells us
    waiter_ = std::thread([this, set] { wait(set); });
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() {
    done_ = true;
    pthread_kill(waiter_.native_handle(), SIGTERM);
    waiter_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] std::stop_token token() const { return stop_.get_token(); }

 private:
  void wait(sigset_t set) {
    for (bool first = true;; first = false) {
      int got = 0;
      sigwait(&set, &got);
      if (done_) return;
      if (!first) {
        log::warn("stopped_at_once", {{"signal", got}});
        record_.ending();
        std::_Exit(1);
      }
      stop_.request_stop();
    }
  }

  recorder::Recorder& record_;
  sigset_t before_{};
  std::stop_source stop_;
  std::atomic<bool> done_{false};
  std::thread waiter_;
};

/// Notes that the process ends by its own code, and by no handler's.
class EndsByItself {
 public:
  explicit EndsByItself(recorder::Recorder& record) : record_(record) {}
  EndsByItself(const EndsByItself&) = delete;
  EndsByItself& operator=(const EndsByItself&) = delete;
  ~EndsByItself() { record_.ending(); }

 private:
  recorder::Recorder& record_;
};

}  // namespace

int run_child(const GroupSettings& settings) {
  const ProcessToken process = take_over(token_fd).token;
  // Never freed: what would not end writes into it to the last.
  auto& record = *new recorder::Recorder(recorder_size(settings), recorder_fd);
  log::copy_to([](void* into, std::string_view line) { static_cast<recorder::Recorder*>(into)->log(line); }, &record);
  recorder::install(record);
  recorder::make_known();
  // However it ends by this code, no handler did it.
  const EndsByItself by_itself(record);
  const StopSignals signals(record);
  try {
    const RegisterPlugin plugin = load_plugin(settings.plugin);
    record_offloads();
    recorder::mark_exits();
    const Ended ended = run(settings, process, plugin, signals.token(), record);
    if (!ended.failure.empty()) log::last_words("weir worker " + settings.name, ended.failure);
    if (!ended.joined) {
      record.ending();
      std::_Exit(ended.exit_code());  // a handler's code still runs: nothing of the process may be torn down under it
    }
    return ended.exit_code();
  } catch (const handler::PluginError& error) {
    log::last_words("weir worker " + settings.name, error.what());
    return 2;
  }
}

}  // namespace weir::worker
