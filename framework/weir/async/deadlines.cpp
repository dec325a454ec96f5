#include "weir/async/deadlines.hpp"

#include <algorithm>

namespace weir::async {
namespace {

constexpr auto tick = std::chrono::milliseconds(1);

/// The first tick that is not before `when`, or the last tick of the clock, if that is earlier.
std::int64_t tick_of(Deadlines::Clock::time_point when) {
  constexpr std::int64_t last = Deadlines::Clock::duration::max() / tick;
  return std::min(last, std::chrono::ceil<std::chrono::milliseconds>(when.time_since_epoch()) / tick);
}

}  // namespace

asio::execution_context::id Deadlines::id;

void Deadline::disarm() {
  if (next_ == nullptr) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  next_ = previous_ = nullptr;
}

Deadlines::Ring::~Ring() {
  while (!empty()) first().disarm();
  next_ = previous_ = nullptr;
}
void Deadlines::Ring::close() { next_ = previous_ = this; }
bool Deadlines::Ring::empty() const { return next_ == this; }
Deadline& Deadlines::Ring::first() { return *next_; }
void Deadlines::Ring::append(Deadline& deadline) {
  deadline.previous_ = previous_;
  deadline.next_ = this;
  previous_->next_ = &deadline;
  previous_ = &deadline;
}

Deadlines& Deadlines::of(const asio::any_io_executor& executor) {
  auto& deadlines = asio::use_service<Deadlines>(asio::query(executor, asio::execution::context));
  if (!deadlines.timer_) deadlines.timer_.emplace(executor);
  return deadlines;
}

void Deadlines::arm(Deadline& deadline, Clock::time_point when) {
  deadline.disarm();
  deadline.tick_ = std::max(tick_of(when), seen_ + 1);
  bucket(deadline.tick_).append(deadline);
  maybe_.set(static_cast<std::size_t>(deadline.tick_ % buckets));
  if (wake_ == 0 || deadline.tick_ < wake_) wake_at(deadline.tick_);
}

void Deadlines::wake_at(std::int64_t at) {
  if (!timer_) return;  // the loop is being destroyed
  wake_ = at;
  timer_->expires_at(Clock::time_point(at * tick));
  timer_->async_wait([this](boost::system::error_code error) {
    if (!error) turn();  // on an error it was armed anew, for earlier
  });
}

void Deadlines::turn() {
  const std::int64_t now = std::chrono::floor<std::chrono::milliseconds>(Clock::now().time_since_epoch()) / tick;
  wake_ = 0;
  Ring due;
  for (std::int64_t at = std::max(seen_ + 1, now - buckets + 1); at <= now; ++at) {
    const auto index = static_cast<std::size_t>(at % buckets);
    if (!maybe_.test(index)) continue;
    Ring& ring = rings_[index];
    // A deadline that is not due yet belongs to a later round.
    for (Deadline* each = ring.next_; each != &ring;) {
      Deadline* const following = each->next_;
      if (each->tick_ <= now) {
        each->disarm();
        due.append(*each);
      }
      each = following;
    }
    maybe_.set(index, !ring.empty());
  }
  seen_ = std::max(seen_, now);
  while (!due.empty()) {
    Deadline& first = due.first();
    first.disarm();
    first.passed();
  }
  for (std::int64_t at = seen_ + 1; at <= seen_ + buckets; ++at) {
    const auto index = static_cast<std::size_t>(at % buckets);
    if (!maybe_.test(index)) continue;
    if (rings_[index].empty()) {
      maybe_.reset(index);
      continue;
    }
    if (wake_ == 0 || at < wake_) wake_at(at);
    break;
  }
}

}  // namespace weir::async
