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
/// This thread's number in the pool.
thread_local std::uint32_t thread_number = 0;

}  // namespace

/// The process's threads for offloaded work. They start with the first work.
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

  /// Returns true if the job had not started; then it never starts.
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
  /// Waits, at the process's regular end, for work that runs. (A forced end is _Exit, which does not come here.)
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
    // The thread has the signal mask of the thread that offloads. It blocks no more signals: programs that it starts
    // inherit the mask, and must end by SIGTERM.
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

  // CPU work gains nothing from more threads than cores, and the shards need some cores. (At most the flight recorder's
  // pool_lines.)
  const std::size_t most_ = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 2, 8);
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

// Makes the pool now, so that it is destroyed late at an exit.
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
  if (!Pool::of_process().withdraw(*this)) return;  // it runs, and its end resumes the waiter
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
  // Before the owner may run on, and end.
  if (by != nullptr) by->ends(thread_number, owner_);
  // Only the waiter's own thread touches it. The loop may not end before the waiter was resumed.
  asio::post(loop_->get_executor(), [job = shared_from_this()] {
    const auto loop = std::exchange(job->loop_, std::nullopt);
    Suspended waiter = *std::exchange(job->waiter_, std::nullopt);
    const bool cancelled = job->stop_.stop_requested();
    waiter(cancelled ? boost::system::error_code(asio::error::operation_aborted) : boost::system::error_code());
  });
}

}  // namespace weir::async
