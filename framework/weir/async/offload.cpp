#include "weir/async/offload.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace weir::async {
namespace {

std::atomic<const OffloadWatch*> watch{nullptr};
/// This thread's in the pool.
thread_local std::uint32_t thread_number = 0;

}  // namespace

/// The process's threads for offloaded work; started with the first of it.
class Pool {
 public:
  static Pool& of_process() {
    static Pool pool;
    return pool;
  }

  void submit(std::shared_ptr<Job> job) {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.push_back(std::move(job));
      if (idle_ == 0 && threads_.size() < most_) start_thread();
    }
    wake_.notify_one();
  }

  /// True if it had not started; it never will.
  bool withdraw(const Job& job) {
    const std::scoped_lock lock(mutex_);
    const auto at =
        std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& each) { return each.get() == &job; });
    if (at == waiting_.end()) return false;
    waiting_.erase(at);
    return true;
  }

 private:
  Pool() = default;
  /// At the process's regular end: waits for what runs. (A forced end is _Exit, which does not come here.)
  ~Pool() {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.clear();
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& each : threads_) each.join();
  }

  void start_thread() {
    // It has the signal mask of who offloads. Nothing is blocked for its own sake: what it starts inherits that, and
    // must end by SIGTERM.
    threads_.emplace_back([this, number = static_cast<std::uint32_t>(threads_.size())] { serve(number); });
  }

  void serve(std::uint32_t number) {
    thread_number = number;
    if (const OffloadWatch* const by = watch) by->thread_begins();
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      wake_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      --idle_;
      if (ending_) return;
      const std::shared_ptr<Job> job = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      job->run();
      lock.lock();
    }
  }

  // A few: CPU work gains nothing from more threads than cores, and the shards want some of those. (At most the flight
  // recorder's pool_lines.)
  const std::size_t most_ = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 2, 8);
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

// The pool is there from now on, so that at an exit it is torn down late.
void watch_offloads(const OffloadWatch& by) {
  (void)Pool::of_process();
  watch = &by;
}

task<> Job::done() {
  return suspend([this](Suspended waiter) { wait(std::move(waiter)); });
}

void Job::wait(Suspended waiter) {
  auto slot = waiter.get_cancellation_slot();
  if (const OffloadWatch* const by = watch) owner_ = by->owner();
  loop_.emplace(waiter.get_executor());
  waiter_.emplace(std::move(waiter));
  if (slot.is_connected()) {
    slot.assign([this](asio::cancellation_type type) {
      if (is_terminal(type)) cancel();
    });
  }
  Pool::of_process().submit(shared_from_this());
}

void Job::cancel() {
  stop_.request_stop();
  if (!Pool::of_process().withdraw(*this)) return;  // it runs: its end resumes the waiter
  loop_.reset();
  resume_later(*std::exchange(waiter_, std::nullopt), asio::error::operation_aborted);
}

void Job::run() {
  const OffloadWatch* const by = watch;
  if (by != nullptr) by->begins(thread_number, owner_);
  try {
    work();
  } catch (...) {
    thrown_ = std::current_exception();
  }
  // Before its owner may run on, and end.
  if (by != nullptr) by->ends(thread_number, owner_);
  // The waiter is touched by its own thread only. The loop may not end before it was resumed.
  asio::post(loop_->get_executor(), [job = shared_from_this()] {
    const auto loop = std::exchange(job->loop_, std::nullopt);
    Suspended waiter = *std::exchange(job->waiter_, std::nullopt);
    const bool cancelled = job->stop_.stop_requested();
    waiter(cancelled ? boost::system::error_code(asio::error::operation_aborted) : boost::system::error_code());
  });
}

}  // namespace weir::async
