#pragma once

/// Time in line: the time for which a coroutine waits at a limit of Weir's, such as a Semaphore, is not its handler's
/// time.
///
/// A handler that waits for a permit does nothing wrong. So its timeout must not end it, and no attempt must be
/// counted: while it is in line, its clock stands still. The time in line has a bound of its own, after which
/// StillInLine is thrown.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "weir/async/task.hpp"
#include "weir/message/error.hpp"
#include "weir/message/units.hpp"

namespace weir {

/// The handler's turn at a limit did not come in time. The message is deferred by its queue's first backoff, which is
/// no attempt.
class StillInLine : public Decided {
 public:
  StillInLine(std::string limit, Duration waited, std::uint64_t times);

  /// The limit's name; empty if it has none.
  [[nodiscard]] const std::string& limit() const { return limit_; }
  [[nodiscard]] Duration waited() const { return waited_; }
  /// How often the line at that limit was too long so far, with this time.
  [[nodiscard]] std::uint64_t times() const { return times_; }

 private:
  std::string limit_;
  Duration waited_;
  std::uint64_t times_;
};

namespace async {

/// Runs the handlers of a loop, and measures their time. Thread: the loop's.
class Timekeeper {
 public:
  using Clock = std::chrono::steady_clock;
  /// Names one run of a handler. It stays valid, and has no effect, once that run has ended.
  struct Run {
    void* of = nullptr;
    std::uint32_t number{};
  };
  virtual ~Timekeeper() = default;
  /// Returns the run whose code is on the CPU, or none.
  [[nodiscard]] virtual Run who_runs() const = 0;
  /// The run waits in line from now on. Returns until when it may.
  virtual Clock::time_point enters_line(Run run) = 0;
  virtual void leaves_line(Run run) = 0;
};

/// A loop's timekeeper, if it has one. Thread: the loop's.
class Timekeepers final : public asio::execution_context::service {
 public:
  /// Points to nullptr while there is no timekeeper. It outlives the timekeeper, the loop, and coroutines that still
  /// wait then.
  using Kept = std::shared_ptr<Timekeeper*>;
  [[nodiscard]] static const Kept& of(const asio::any_io_executor& executor);
  explicit Timekeepers(asio::execution_context& context) : service(context) {}

  static asio::execution_context::id id;

 private:
  void shutdown() override { *kept_ = nullptr; }

  Kept kept_ = std::make_shared<Timekeeper*>(nullptr);
};

/// While it lives, the time of the handler that made it stands still.
class InLine {
 public:
  explicit InLine(const asio::any_io_executor& executor);
  InLine(const InLine&) = delete;
  InLine& operator=(const InLine&) = delete;
  ~InLine();

  /// The time at which the place in line is given up; time_point::max() outside of a handler.
  [[nodiscard]] Timekeeper::Clock::time_point until() const { return until_; }
  [[nodiscard]] Duration waited() const;

 private:
  Timekeepers::Kept keeper_;
  Timekeeper::Run run_;
  Timekeeper::Clock::time_point since_ = Timekeeper::Clock::now();
  Timekeeper::Clock::time_point until_ = Timekeeper::Clock::time_point::max();
};

}  // namespace async
}  // namespace weir
