// The chaos and end-to-end tests' own plugin: does what a message tells it, and keeps a ledger.
//
// The ledger is one file for all processes: a line `start NUMBER ATTEMPT PID ID NAME SECONDS` or `end …` (monotonic
// seconds), written by one write(2) with O_APPEND, so that lines of several processes never mix and none is lost with
// its process.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <weir/handler.hpp>

#include "forks.hpp"
#include "poisons.hpp"
#include "work/work.pb.h"

namespace {

class Ledger {
 public:
  explicit Ledger(const std::string& path)
      : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw std::runtime_error("cannot open the ledger " + path);
  }
  void write(const char* what, std::uint64_t number, const weir::Context& ctx) const {
    const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
    const std::string line = std::string(what) + " " + std::to_string(number) + " " + std::to_string(ctx.attempt()) +
                             " " + std::to_string(::getpid()) + " " + std::string(ctx.id()) + " " + ctx.name().text() +
                             " " + std::to_string(now.count()) + "\n";
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      throw std::runtime_error("cannot write the ledger");
    }
  }

 private:
  int file_;
};

/// What no handler should do.
[[gnu::noinline]] void block(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) std::this_thread::sleep_until(end);
}

struct Do {
  std::shared_ptr<Ledger> ledger;
  boost::asio::any_io_executor loop;
  std::shared_ptr<weir::Semaphore> gate = std::make_shared<weir::Semaphore>(5, "gate");

  weir::task<> operator()(weir::Context& ctx, const work::Task& task) const {
    ledger->write("start", task.number(), ctx);
    const std::chrono::milliseconds time(task.millis());
    if (task.action() == "sleep") co_await weir::sleep(time);
    if (task.action() == "limited") co_await weir::limit(*gate, weir::sleep(time));
    if (task.action() == "block") block(time);
    while (task.action() == "never") co_await weir::sleep(std::chrono::hours(1));
    const std::string& kind = task.poison();
    const bool off_the_loop = task.action() == "offload_poison";
    if (off_the_loop && kind == "endless_loop") poison::wait_for_a_thread();
    if (!kind.empty()) ctx.log("takes_poison", {{"kind", kind}});
    if (off_the_loop) co_await weir::offload([&kind] { poison::take(kind); });
    if (task.action() == "poison") {
      poison::take(kind);
      co_await poison::leave_behind(kind, loop);
    }
    if (task.action() == "fail") throw std::runtime_error("told to fail");
    if (task.action() == "reject") throw weir::Reject("told to reject");
    ledger->write("end", task.number(), ctx);
  }
};

}  // namespace

WEIR_PLUGIN(plugin) {
  if (const std::string while_there = plugin.option("crashes_while", ""); !while_there.empty()) {
    poison::crash_of_its_own(while_there, std::chrono::milliseconds(std::stoi(plugin.option("crashes_after_ms", "0"))));
  }
  forks::loop = plugin.executor();
  plugin.on<work::Task>("work", Do{std::make_shared<Ledger>(plugin.option("ledger", "ledger.txt")), plugin.executor()});
}
