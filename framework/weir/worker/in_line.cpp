// Time in line for a limit (weir::Semaphore) is not the handler's: its deadline is put off by the same time.
#include <algorithm>
#include <utility>

#include "weir/worker/slots.hpp"

namespace weir::worker {

async::Timekeeper::Run Slots::who_runs() const { return {current_, current_ != nullptr ? current_->mark() : 0}; }

Slots::Clock::time_point Slots::enters_line(Run run) {
  auto* const slot = static_cast<Slot*>(run.of);
  return slot->mark() == run.number ? slot->enters_line() : Clock::time_point::max();
}

void Slots::leaves_line(Run run) {
  auto* const slot = static_cast<Slot*>(run.of);
  if (slot->mark() == run.number) slot->leaves_line();
}

Slot::Clock::time_point Slot::enters_line() {
  const auto now = Clock::now();
  if (lines_++ == 0) {
    in_line_since_ = now;
    if (fate_ == Fate::its_own) disarm();
  }
  return in_line_since_ + in_line_left_;
}

void Slot::leaves_line() {
  if (--lines_ > 0) return;
  const Clock::duration waited = Clock::now() - in_line_since_;
  in_line_left_ = std::max(Clock::duration{0}, in_line_left_ - waited);
  // RULE: time_in_line_is_not_the_handlers
  context_.put_off(waited);
  slots_.on_cpu_.may_run_until(number_, context_.deadline());
  if (slots_.current_ != this) arm();  // otherwise it is armed once the handler suspends again
}

End Slots::still_in_line(const Slot& slot, const StillInLine& late) {
  // The time in all lines of this run. The last line made it too long.
  const auto in_line = std::chrono::duration_cast<Duration>(slot.registered_->timeout - slot.in_line_left_);
  if (const auto left_out = lines_.pass(Clock::now())) {
    log::warn("deferred_in_line", {{"limit", late.limit()},
                                   {"queue", slot.context_.queue()},
                                   {"message", slot.context_.id()},
                                   {"waited", late.waited()},
                                   {"in_line", in_line},
                                   {"times", late.times()},
                                   {"left_out", *left_out}});
  }
  return End(Outcome::defer, late.what());
}

}  // namespace weir::worker
