#pragma once

/// weir::offload: work that keeps the CPU busy, off the loop.
///
///     const Words words = co_await weir::offload([&] { return tokenize(text); });
///
/// The work runs on one of a few threads of the process. Its result, or its exception, comes back on the shard's loop.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "weir/async/callable.hpp"
#include "weir/async/offload_watch.hpp"
#include "weir/async/suspended.hpp"
#include "weir/async/task.hpp"

namespace weir {
namespace async {

/// One piece of work and the coroutine that waits for it.
class Job : public std::enable_shared_from_this<Job> {
 public:
  virtual ~Job() = default;
  /// Submits the work and waits until it ends. Call it once.
  [[nodiscard]] task<> done();

 protected:
  [[nodiscard]] std::stop_token stop_token() const { return stop_.get_token(); }
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  friend class Pool;
  virtual void work() = 0;
  void run();  ///< on a thread of the pool
  void wait(Suspended waiter);
  void cancel();

  OffloadOwner owner_;
  std::stop_source stop_;
  std::exception_ptr thrown_;
  std::optional<Suspended> waiter_;
  std::optional<asio::executor_work_guard<asio::any_io_executor>> loop_;
};

template <class F>
decltype(auto) call_with_stop(F& function, const std::stop_token& stop) {
  if constexpr (std::is_invocable_v<F&, std::stop_token>) {
    return function(stop);
  } else {
    return function();
  }
}

template <class F>
class OffloadedJob final : public Job {
 public:
  using Result = std::decay_t<decltype(call_with_stop(std::declval<F&>(), {}))>;
  explicit OffloadedJob(F function) : function_(std::move(function)) {}

  Result take() {
    rethrow();
    if constexpr (!std::is_void_v<Result>) return std::move(*result_);
  }

 private:
  void work() override {
    if constexpr (std::is_void_v<Result>) {
      call_with_stop(function_, stop_token());
    } else {
      result_.emplace(call_with_stop(function_, stop_token()));
    }
  }

  F function_;
  std::optional<std::conditional_t<std::is_void_v<Result>, char, Result>> result_;
};

template <class F>
task<typename OffloadedJob<F>::Result> offloaded(std::shared_ptr<OffloadedJob<F>> job) {
  co_await job->done();
  co_return job->take();
}

}  // namespace async

/// Runs `function()`, or `function(std::stop_token)`, on a thread of the process's pool.
///
/// Waits until `function` has returned. Throws: what `function` throws.
/// Cancellation: terminal. Work that has not started never starts. Work that runs is asked to stop (stop_token) and
/// waited for, as it may use the awaiting coroutine's variables. Then operation_aborted is thrown.
/// Thread: `function` must not touch the Context, nor anything else that belongs to the shard.
template <class F>
auto offload(F&& function) {
  static_assert(async::safe_callable<F>, "name the lambda first: g++ 12 (weir/async/callable.hpp)");
  using Kept = std::decay_t<F>;
  return async::offloaded<Kept>(std::make_shared<async::OffloadedJob<Kept>>(std::forward<F>(function)));
}

}  // namespace weir
