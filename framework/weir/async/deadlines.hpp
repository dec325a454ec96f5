#pragma once

/// All deadlines of one loop, behind one armed timer.
///
/// An armed and cancelled steady_timer costs 1.2 µs (a timerfd_settime each), `||` with one 5 µs and 14 allocations.
/// Here arming and disarming are a few writes: a wheel of 1 ms ticks whose timer only ever wakes too early, never too
/// late, and is left armed when its deadline is disarmed.

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

/// One deadline: armed, disarmed (also by its destructor), or passed. Stays where it is while it is armed.
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
  /// Called once, disarmed; it may arm, disarm and destroy any deadline, itself too.
  virtual void passed() = 0;

  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
  std::int64_t tick_ = 0;
};

/// Thread: the loop's.
class Deadlines final : public asio::execution_context::service {
 public:
  using Clock = std::chrono::steady_clock;

  /// The loop's one wheel; its timer runs on the executor that asked for it first.
  [[nodiscard]] static Deadlines& of(const asio::any_io_executor& executor);

  explicit Deadlines(asio::execution_context& context) : service(context) {}

  /// `deadline` passes at `when`, rounded up to a millisecond; armed anew if it was armed.
  void arm(Deadline& deadline, Clock::time_point when);

  static asio::execution_context::id id;

 private:
  /// A bucket, or what is due: a ring through its head.
  struct Ring final : Deadline {
    Ring() { close(); }
    ~Ring() override;
    void close();
    [[nodiscard]] bool empty() const;
    void append(Deadline& deadline);
    [[nodiscard]] Deadline& first();
    void passed() override {}
  };
  static constexpr std::int64_t buckets = 1024;  // about a second a round; what lies farther is passed over

  void shutdown() override { timer_.reset(); }
  void wake_at(std::int64_t tick);
  void turn();
  [[nodiscard]] Ring& bucket(std::int64_t tick) { return rings_[static_cast<std::size_t>(tick % buckets)]; }

  std::array<Ring, static_cast<std::size_t>(buckets)> rings_;
  std::bitset<static_cast<std::size_t>(buckets)> maybe_;  ///< buckets that may hold something
  std::int64_t seen_ = 0;                                 ///< ticks up to this one are done
  std::int64_t wake_ = 0;                                 ///< the timer's; 0: not armed
  std::optional<asio::steady_timer> timer_;
};

}  // namespace weir::async
