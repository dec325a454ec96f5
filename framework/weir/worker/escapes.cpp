// Exceptions of code that a handler spawned or posted.
#include <utility>

#include "weir/worker/slots.hpp"

namespace weir::worker {

Slot* Slots::step_aside() {
  Slot* const before = std::exchange(current_, nullptr);
  if (before != nullptr) on_cpu_.leaves();
  return before;
}

void Slots::step_back(Slot* before) {
  current_ = before;
  if (before != nullptr && before->registered_ != nullptr) on_cpu_.enters(before->number_, now_);
}

void Slots::escaped(Slot* slot, const End& end) {
  const bool runs = slot != nullptr && slot->registered_ != nullptr && slot->fate_ <= Slot::Fate::timed_out;
  if (runs) return slot->escape(end);
  const auto left_out = escapes_.pass(Clock::now());
  if (!left_out) return;
  const std::string text = printable_reason(end.why());
  log::error("escaped_on_the_loop", {{"worker", settings_.name}, {"error", text}, {"left_out", *left_out}});
}

void Slot::escape(const End& end) {
  // Counts as if the handler had thrown it: a Reject stays a Reject, a Retry keeps its time.
  escaped_ =
      End(end.outcome(), end.why().empty() ? "" : "an exception of it escaped on its loop: " + end.why(), end.delay());
  cancel(Fate::escaped);
  // As after its timeout: a handler that goes on is logged.
  if (registered_ != nullptr) slots_.deadlines_.arm(*this, Slots::Clock::now() + registered_->timeout);
}

}  // namespace weir::worker
