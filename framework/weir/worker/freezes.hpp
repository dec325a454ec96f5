#pragma once

/// Tells whether a child is frozen: stopped (SIGSTOP, a frozen cgroup), or so stuck that even its keep-alive thread
/// does not run.
///
/// Pure. That thread counts in the flight recorder at least four times per session timeout, whatever handlers do and
/// whether a broker answers or not. The parent looks each second. A child that has counted nothing for three session
/// timeouts is frozen: by then the broker has given its messages to others, and without its end it would never be
/// replaced.

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "weir/message/units.hpp"
#include "weir/worker/recorder/life.hpp"

namespace weir::worker {

class Freezes {
 public:
  using Clock = std::chrono::steady_clock;
  /// The time from one look to the next.
  static constexpr Duration look_every = std::chrono::seconds(1);
  /// The longest gap between two looks. After a longer gap the parent itself did not run, and perhaps the child did
  /// not: its time begins anew.
  static constexpr Duration gap_most = std::chrono::seconds(2);
  static constexpr int session_timeouts = 3;
  /// Used if no broker has said a session timeout, as for a child that was stopped before its keep-alive thread ran.
  static constexpr Duration session_timeout_default = std::chrono::seconds(10);

  enum class Found : std::uint8_t {
    alive,
    traced,  ///< frozen under a debugger: its time begins anew. Returned once per freeze
    frozen,  ///< to be killed
  };

  struct Look {
    Clock::time_point now;
    std::optional<recorder::Life> life;
    bool is_stopped = false;  ///< by the kernel's word: the only sign before the keep-alive thread counts
    bool is_traced = false;
  };

  explicit Freezes(Clock::time_point start) : looked_at_(start), fresh_at_(start) {}

  [[nodiscard]] Found look(const Look& look) {
    const std::uint64_t beats = look.life ? look.life->beats : 0;
    const bool counts = beats != beats_ || (beats == 0 && !look.is_stopped);
    const bool slept = look.now - looked_at_ > gap_most;
    looked_at_ = look.now;
    if (counts) told_ = false;
    if (counts || slept) fresh_at_ = look.now;
    beats_ = beats;
    const Duration limit =
        session_timeouts * (look.life ? look.life->session_timeout : std::nullopt).value_or(session_timeout_default);
    if (look.now - fresh_at_ < limit) return Found::alive;
    // RULE: frozen_child_is_replaced
    if (!look.is_traced) return Found::frozen;
    fresh_at_ = look.now;  // once the debugger lets it go, it has that time again
    return std::exchange(told_, true) ? Found::alive : Found::traced;
  }
  /// How long nothing had been counted at the last look.
  [[nodiscard]] Duration frozen_for() const { return std::chrono::duration_cast<Duration>(looked_at_ - fresh_at_); }

 private:
  Clock::time_point looked_at_;
  Clock::time_point fresh_at_;
  std::uint64_t beats_ = 0;
  bool told_ = false;
};

}  // namespace weir::worker
