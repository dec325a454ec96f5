#include "weir/worker/stalls.hpp"

#include <algorithm>
#include <utility>

namespace weir::worker {

Stall Stalls::look(Clock::time_point now, Clock::duration stall_after, const std::optional<recorder::OnCpu>& on_cpu) {
  const Clock::time_point seen_at = std::exchange(seen_at_, now);
  if (!on_cpu || on_cpu->running != running_) {
    running_ = on_cpu ? on_cpu->running : 0;
    told_at_.reset();
    past_since_.reset();
    stopped_ = {};
    stuck_ = false;
  }
  if (!on_cpu || stuck_) return Stall::none;
  if (now - seen_at > gap_most) {
    stopped_ += now - std::max(seen_at, on_cpu->since);
    past_since_.reset();
  }
  if (now > on_cpu->what.deadline + stopped_) {
    if (!past_since_) past_since_ = now;
    if (now - *past_since_ >= (is_loop_ ? stuck_on_loop : stuck_in_pool)) {
      stuck_ = true;
      return Stall::stuck;
    }
  }
  if (!is_loop_ || now - on_cpu->since < stall_after) return Stall::none;
  if (told_at_ && now - *told_at_ < told_again_after) return Stall::none;
  told_at_ = now;
  return Stall::stalled;
}

}  // namespace weir::worker
