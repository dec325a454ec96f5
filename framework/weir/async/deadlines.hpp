#pragma once

/// All deadlines of one loop, behind one armed timer.
///
/// A steady_timer that is armed and cancelled costs 1.2 µs (one timerfd_settime each), and `||` with one costs 5 µs and
/// 14 allocations. Here arming and disarming are a few writes to a wheel of 1 ms ticks. The wheel's timer may wake too
/// early, never too late, and stays armed when its deadline is disarmed.

#include <array>
#include <bitset>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <optional>

#include "weir/async/task.hpp"
#include "weir/message/units.hpp"

namespace weir::async {

/// One deadline: armed, disarmed, or passed. Its destructor disarms it. It must not move while it is armed.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  virtual ~Deadline() { disarm(); }
  [[nodiscard]] bool armed() const { return next_ != nullptr; }
  void disarm();

 private:
  friend class Deadlines;
  /// Called once, after the deadline was disarmed. It may arm, disarm and destroy any deadline, also itself.
  virtual void passed() = 0;

  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
  std::int64_t tick_ = 0;
};

/// Thread: the loop's.
class Deadlines final : public asio::execution_context::service {
 public:
  using Clock = std::chrono::steady_clock;

  /// Returns the loop's one wheel. Its timer runs on the executor that asked for it first.
  [[nodiscard]] static Deadlines& of(const asio::any_io_executor& executor);

  explicit Deadlines(asio::execution_context& context) : service(context) {}

  /// Arms `deadline` for `when`, rounded up to 1 ms. An armed deadline is armed anew.
  void arm(Deadline& deadline, Clock::time_point when);

  static asio::execution_context::id id;

 private:
  /// A ring of deadlines through its head: a bucket, or those that are due.
  struct Ring final : Deadline {
    Ring() { close(); }
    ~Ring() override;
    void close();
    [[nodiscard]] bool empty() const;
    void append(Deadline& deadline);
    [[nodiscard]] Deadline& first();
    void passed() override {}
  };
  static constexpr std::int64_t buckets = 1024;  // about 1 s per round; later deadlines are passed over

  void shutdown() override { timer_.reset(); }
  void wake_at(std::int64_t tick);
  void turn();
  [[nodiscard]] Ring& bucket(std::int64_t tick) { return rings_[static_cast<std::size_t>(tick % buckets)]; }

  std::array<Ring, static_cast<std::size_t>(buckets)> rings_;
  std::bitset<static_cast<std::size_t>(buckets)> maybe_;  ///< buckets that may hold a deadline
  std::int64_t seen_ = 0;                                 ///< ticks up to this one are done
  std::int64_t wake_ = 0;                                 ///< the timer's tick; 0: not armed
  std::optional<asio::steady_timer> timer_;
};

}  // namespace weir::async
