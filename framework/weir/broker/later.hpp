#pragma once

/// Work of the loop between frames: work that takes long, one step at a time, and operators' requests, one after the
/// other.
///
/// While frames come, it has a quarter of the time; else all of it.

#include <deque>
#include <optional>
#include <utility>

#include "weir/broker/core/core.hpp"

namespace weir::broker {

class Later {
 public:
  /// The most requests that may wait.
  static constexpr std::size_t asked_most = 1024;

  /// A frame came in this turn.
  void frame_came() { came_ = true; }
  /// True if this turn may do some of this work.
  [[nodiscard]] bool may_go_on(Instant now) { return !std::exchange(came_, false) || now >= rests_until_; }
  void went_on(Instant begun, Instant ended) { rests_until_ = ended + 3 * (ended - begun); }

  /// False: too many wait.
  bool ask(core::Ask& request) {
    if (asked_.size() >= asked_most) return false;
    asked_.push_back(std::move(request));
    return true;
  }
  [[nodiscard]] std::optional<core::Ask> next_asked() {
    if (asked_.empty()) return std::nullopt;
    core::Ask next = std::move(asked_.front());
    asked_.pop_front();
    return next;
  }
  [[nodiscard]] bool is_asked() const { return !asked_.empty(); }

 private:
  std::deque<core::Ask> asked_;
  bool came_ = false;
  Instant rests_until_;
};

}  // namespace weir::broker
