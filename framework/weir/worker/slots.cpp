#include "weir/worker/slots.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "weir/async/forked_copy.hpp"
#include "weir/async/timeout.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/worker/slot_executor.hpp"

namespace weir::worker {
namespace {

/// A message object that parsed more than this is made anew, so that a slot does not keep the memory of its largest
/// message.
constexpr std::size_t reused_bytes_most = 64 * 1024;
/// A message whose type this worker does not know is deferred for this time.
constexpr Duration unknown_type_delay = std::chrono::seconds(10);
/// The time until the unconfirmed bound is looked at again. The session does not report changes. At the bound the disk
/// is the bottleneck.
constexpr auto room_pause = std::chrono::milliseconds(2);

}  // namespace

std::uint32_t slots_most(const GroupSettings& settings) {
  const std::uint64_t window = settings.window.messages.value;
  return static_cast<std::uint32_t>(std::min(settings.concurrency.value_or(concurrency_default), window));
}

Slot::Slot(Slots& slots, std::uint32_t number, ContextHome home, std::size_t handlers)
    : slots_(slots), number_(number), context_(home), messages_(handlers) {}

Slot* Slot::enter() {
  async::end_if_copy();  // a copy that a callback on the loop forked, outside any slot
  Slot* const before = std::exchange(slots_.current_, this);
  if (before == this) return before;
  if (slots_.frozen_ && slots_.frozen_()) slots_.give_back();
  slots_.now_ = Slots::Clock::now();
  if (registered_ != nullptr) slots_.on_cpu_.enters(number_, slots_.now_);
  return before;
}

void Slot::leave(Slot* before) {
  async::end_if_copy();
  slots_.current_ = before;
  if (before == this) return;
  if (before != nullptr && before->registered_ != nullptr) {
    slots_.on_cpu_.enters(before->number_, slots_.now_);
  } else {
    slots_.on_cpu_.leaves();
  }
  // It suspended. Only now its deadline costs time.
  if (registered_ != nullptr && !armed()) arm();
}

/// Arms its deadline, but not while it stands in line, nor once it was cancelled.
void Slot::arm() {
  if (fate_ != Fate::its_own || lines_ > 0) return;
  slots_.deadlines_.arm(*this, context_.deadline());
}

void Slot::passed() {
  if (fate_ == Fate::timed_out || fate_ == Fate::escaped) {
    log::warn(slots_.deaf_, "handler_ignores_its_cancellation",
              {{"queue", context_.queue()},
               {"message", context_.id()},
               {"attempt", context_.attempt()},
               {"running", Slots::Clock::now() - started_}});
    return;
  }
  cancel(Fate::timed_out);
  // Armed again, as a handler that catches its cancellation and goes on may keep its place for any time.
  if (registered_ != nullptr && fate_ == Fate::timed_out) {
    slots_.deadlines_.arm(*this, Slots::Clock::now() + registered_->timeout);
  }
}

void Slot::cancel(Fate fate) {
  fate_ = fate;
  disarm();
  signal_.emit(asio::cancellation_type::terminal);
}

Slots::Slots(asio::io_context& loop, const GroupSettings& settings, Registry& registry, engine::Session& session,
             Running on_cpu)
    : loop_(loop),
      settings_(settings),
      registry_(registry),
      session_(session),
      deadlines_(async::Deadlines::of(loop.get_executor())),
      window_(settings.window),
      settler_(loop.get_executor(), session, settings.window.bytes),
      on_cpu_(on_cpu),
      slots_most_(slots_most(settings)),
      timekeeper_(async::Timekeepers::of(loop.get_executor())) {
  slots_.reserve(slots_most_);
  *timekeeper_ = this;
}

Slots::~Slots() { *timekeeper_ = nullptr; }

void Slots::take(engine::Batch batch) {
  if (frozen_ && frozen_()) give_back();  // the new deliveries have valid leases
  for (const engine::Ticket ticket : batch.lost) lose(ticket);
  const auto recalls = std::move(batch.recalls);
  window_.take(std::move(batch));
  if (stopped_) release_unstarted();
  for (const engine::Batch::Recall& recall : recalls) give_back(recall);
  turn();
}

void Slots::lose(engine::Ticket ticket) {
  Place* const place = window_.held(ticket);
  if (place == nullptr) return;
  Slot* const slot = place->slot;
  if (slot == nullptr) {
    window_.forget_waiting(*place);
    return;
  }
  slot->lost_ = window_.detach(*place);
  slot->place_ = nullptr;
  slot->context_.detached();
  log::warn(
      losses_, "lease_lost",
      {{"queue", slot->context_.queue()}, {"message", slot->context_.id()}, {"attempt", slot->context_.attempt()}});
  slot->cancel(Slot::Fate::lost);
}

/// Runs waiting deliveries, as far as slots and bounds allow.
void Slots::turn() {
  if (frozen_ && frozen_()) give_back();
  if (stopped_ || window_.waiting() == 0) return;
  now_ = Clock::now();
  turn_end_ = now_ + turn_time_;
  turn_left_ = turn_messages_most;
  room_ = settler_.room();
  while (window_.waiting() > 0 && turn_left_ > 0 && room_ > 0) {
    Slot* const slot = idle_slot();
    if (slot == nullptr) return;  // the next slot that finishes goes on
    Slot* const before = slot->enter();
    if (slot->idle_) {
      async::Suspended waiting = *std::exchange(slot->idle_, std::nullopt);
      waiting({});
    } else {
      asio::co_spawn(SlotExecutor(slot, loop_.get_executor()), serve(*slot),
                     asio::bind_cancellation_slot(slot->signal_.slot(), [this](const std::exception_ptr& thrown) {
                       // Leaves the loop's run(): it is Weir's exception, never a handler's.
                       if (thrown) asio::post(loop_, [thrown] { std::rethrow_exception(thrown); });
                     }));
    }
    slot->leave(before);
  }
  if (room_ == 0) {
    wait_for_room();
  } else if (window_.waiting() > 0) {
    turn_again();
  }
}

void Slots::turn_again() {
  if (std::exchange(turn_posted_, true)) return;
  asio::post(loop_, [this] {
    turn_posted_ = false;
    turn();
  });
}

void Slots::tidy_later() {
  if (std::exchange(tidy_posted_, true)) return;
  asio::post(loop_, [this] {
    tidy_posted_ = false;
    window_.tidy();
  });
}

void Slots::wait_for_room() {
  if (std::exchange(waits_for_room_, true)) return;
  auto timer = std::make_unique<asio::steady_timer>(loop_, room_pause);
  asio::steady_timer& waiting = *timer;
  waiting.async_wait([this, kept = std::move(timer)](boost::system::error_code) {
    waits_for_room_ = false;
    turn();
  });
}

Slot* Slots::idle_slot() {
  if (!idle_.empty()) {
    Slot* const slot = idle_.back();
    idle_.pop_back();
    return slot;
  }
  if (slots_.size() == slots_most_) return nullptr;
  slots_.push_back(std::make_unique<Slot>(*this, static_cast<std::uint32_t>(slots_.size()),
                                          ContextHome{window_, session_, settings_.queues}, registry_.size()));
  return slots_.back().get();
}

task<> Slots::idle(Slot& slot) {
  return async::suspend([this, &slot](async::Suspended waiting) {
    slot.idle_.emplace(std::move(waiting));
    idle_.push_back(&slot);
  });
}

task<> Slots::serve(Slot& slot) {
  while (!closing_) {
    // State that a handler set, or that a cancellation left, must not reach the next handler.
    co_await asio::this_coro::reset_cancellation_state();
    co_await asio::this_coro::throw_if_cancelled(true);
    if (!begin_next(slot)) {
      co_await idle(slot);
      continue;
    }
    try {
      co_await slot.registered_->handler->run(slot.context_, slot.message_, slot.end_);
    } catch (const EndedBy& ended) {
      slot.threw_ = true;
      slot.end_ = ended.end();
    } catch (const StillInLine& late) {
      slot.threw_ = true;
      slot.end_ = still_in_line(slot, late);
    } catch (...) {
      slot.threw_ = true;
      slot.end_ = thrown_end();
    }
    finish(slot);
  }
}

/// Gives the slot the next delivery that a handler can run. Returns false if there is none, or none in this turn.
bool Slots::begin_next(Slot& slot) {
  while (!stopped_) {
    if (window_.waiting() == 0) return false;
    if (turn_left_ == 0 || room_ == 0 || now_ > turn_end_) {
      // A handler that finished in a turn of its own comes here with the remainder of the last turn's budget.
      turn_left_ = 0;
      turn_again();
      return false;
    }
    --turn_left_;
    --room_;
    if (begin(slot, *window_.next())) return true;
  }
  return false;
}

bool Slots::begin(Slot& slot, Place& place) {
  const engine::Delivery& delivery = *place.delivery;
  Registered* const registered = registry_.find(delivery.queue, delivery.type);
  if (registered == nullptr) {
    log::warn(strangers_, "type_unknown",
              {{"queue", settings_.queues[delivery.queue]},
               {"message", session_.id(delivery)},
               {"attempt", delivery.attempt},
               {"type", delivery.type}});
    settle_unstarted(place, deferred(unknown_type_delay));
    return false;
  }
  const auto body = protocol::decode_body(delivery.body);
  if (!body) {
    settle_unstarted(place, rejected(body.error().message));
    return false;
  }
  // Before its bytes are parsed, as parsing too can end the process.
  on_cpu_.starts(slot.number_, {.queue = delivery.queue,
                                .segment = delivery.segment,
                                .index = delivery.index,
                                .attempt = delivery.attempt,
                                .handler = static_cast<std::uint32_t>(registered->index),
                                .started = now_,
                                .deadline = now_ + registered->timeout});
  auto& message = slot.messages_[registered->index];
  if (message == nullptr) message = registered->handler->make_message();
  slot.message_ = message.get();
  if (message != nullptr && !message->ParseFromArray(body->payload.data(), static_cast<int>(body->payload.size()))) {
    on_cpu_.ends(slot.number_);
    settle_unstarted(
        place, rejected("payload of " + std::to_string(body->payload.size()) + " bytes is no " + registered->type));
    return false;
  }
  place.slot = &slot;
  slot.place_ = &place;
  slot.registered_ = registered;
  slot.fate_ = Slot::Fate::its_own;
  slot.threw_ = false;
  slot.started_ = now_;
  slot.in_line_left_ = registered->timeout;
  slot.context_.begin(place, body->payload, body->headers, registered->type, now_ + registered->timeout);
  ++running_count_;
  return true;
}

void Slots::finish(Slot& slot) {
  async::end_if_copy();
  slot.disarm();
  now_ = Clock::now();
  if (slot.fate_ == Slot::Fate::escaped) {
    slot.threw_ = true;
    slot.end_ = std::move(slot.escaped_);
  } else if (slot.fate_ != Slot::Fate::its_own && slot.threw_) {
    slot.end_ = slot.fate_ == Slot::Fate::timed_out ? retried(TimedOut(slot.registered_->timeout).what()) : released();
  }
  if (slot.place_ != nullptr) settle(slot, slot.end_);
  if (slot.message_ != nullptr && slot.context_.delivery().body.size() > reused_bytes_most) {
    slot.messages_[slot.registered_->index].reset();
  }
  if (slot.place_ != nullptr) {
    window_.free(*std::exchange(slot.place_, nullptr));
    if (window_.wants_tidying()) tidy_later();
  }
  slot.run_.store(slot.mark() + 1, std::memory_order_relaxed);
  slot.lines_ = 0;
  slot.context_.end();
  slot.lost_.reset();
  slot.registered_ = nullptr;
  slot.message_ = nullptr;
  if (slot.threw_ || slot.end_.outcome() != Outcome::ack) slot.end_ = End();
  on_cpu_.ends(slot.number_);
  if (--running_count_ == 0 && waits_for_none_) async::resume_later(*std::exchange(waits_for_none_, std::nullopt));
}

void Slots::settle(Slot& slot, const End& end) {
  const engine::Ticket ticket = slot.place_->delivery->ticket;
  switch (end.outcome()) {
    case Outcome::ack:
      if (slot.context_.outputs().empty()) {
        settler_.ack(ticket);
      } else {
        settler_.ack(ticket, std::move(slot.context_.outputs()), slot.context_.output_bytes());
        // Outputs have a bound of their own: bytes under way.
        if (settler_.room() == 0) room_ = 0;
      }
      break;
    case Outcome::release:
      settler_.release(ticket);
      break;
    case Outcome::retry:
    case Outcome::reject:
      log_failure(*slot.place_->delivery, end, now_ - slot.started_);
      [[fallthrough]];
    case Outcome::defer:
    case Outcome::throttled:
      settler_.settle(ticket, end, now_ - slot.started_);
      break;
  }
}

void Slots::settle_unstarted(Place& place, const End& end) {
  if (end.outcome() == Outcome::reject) log_failure(*place.delivery, end, {});
  settler_.settle(place.delivery->ticket, end, {});
  window_.free(place);
}

void Slots::log_failure(const engine::Delivery& delivery, const End& end, Clock::duration took) {
  if (!failures_.due(now_))
    return failures_.leave_out();  // thousands per second may fail, so no fields are made for
                                   // these
  const std::string reason = printable_reason(end.why());
  log::warn(failures_, end.outcome() == Outcome::reject ? "rejected" : "handler_failed",
            {{"queue", settings_.queues[delivery.queue]},
             {"message", session_.id(delivery)},
             {"attempt", delivery.attempt},
             {"error", reason},
             {"took", took}});
}

void Slots::release_unstarted() {
  stopped_ = true;
  while (Place* const place = window_.next()) {
    settler_.release(place->delivery->ticket);
    window_.free(*place);
  }
}

void Slots::cancel() {
  for (const auto& slot : slots_) {
    const bool is_its_own = slot->fate_ != Slot::Fate::lost && slot->fate_ != Slot::Fate::escaped;
    if (slot->registered_ != nullptr && is_its_own) slot->cancel(Slot::Fate::released);
  }
}

void Slots::give_back() {
  while (Place* const place = window_.next()) {
    settler_.release(place->delivery->ticket);
    window_.free(*place);
  }
  cancel();
}

void Slots::give_back(const engine::Batch::Recall& recall) {
  for (Place* const place : window_.newest(recall.queue, recall.messages)) {
    settler_.release(place->delivery->ticket);
    window_.free(*place);
  }
}

task<> Slots::none_running() {
  if (running_count_ == 0) co_return;
  co_await async::suspend([this](async::Suspended waiting) {
    auto slot = waiting.get_cancellation_slot();
    waits_for_none_.emplace(std::move(waiting));
    if (!slot.is_connected()) return;
    slot.assign([this](asio::cancellation_type type) {
      if (!async::is_terminal(type) || !waits_for_none_) return;
      async::resume_later(*std::exchange(waits_for_none_, std::nullopt), asio::error::operation_aborted);
    });
  });
}

void Slots::close() {
  closing_ = true;
  if (const std::uint64_t untold = failures_.take_left_out(); untold > 0) {
    log::warn("failures_left_out", {{"worker", settings_.name}, {"messages", untold}});
  }
  for (Slot* const slot : std::exchange(idle_, {})) {
    async::Suspended waiting = *std::exchange(slot->idle_, std::nullopt);
    waiting({});
  }
}

}  // namespace weir::worker
