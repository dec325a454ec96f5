#include "weir/publisher/publisher.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <map>
#include <span>
#include <string>
#include <utility>

#include "weir/engine/publishable.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/v1/message.pb.h"

namespace weir {

struct Publisher::State : std::enable_shared_from_this<State> {
  /// A publish() that waits for its answer.
  struct Waiter {
    Confirmation answer;
    bool answered = false;
  };

  State(engine::Engine& engine, boost::asio::any_io_executor ex)
      : executor(ex), producer(engine.producer(ex)), changed(ex, std::chrono::steady_clock::time_point::max()) {}

  boost::asio::any_io_executor executor;
  std::unique_ptr<engine::Producer> producer;  // null once the publisher is gone
  boost::asio::steady_timer changed;           // never expires: its cancellation wakes the waiters
  boost::asio::cancellation_signal stop;
  bool reading = false;
  bool flush_scheduled = false;
  std::exception_ptr failure;
  Counts counts;
  std::uint64_t last_number = 0;
  std::function<void(const Confirmation&)> listener;
  std::map<std::uint64_t, Waiter*> waiters;
  std::string headers;
  std::string payload;
  std::string type_checked;  ///< nearly always the type of the next message, too

  void start_reading();
  void answered(const Confirmation& answer);
  void schedule_flush();
  [[nodiscard]] bool offer(std::string_view queue, std::string_view type, std::string_view bytes,
                           const PublishOptions& options);
  task<> change();
  static task<> read(std::shared_ptr<State> self);
};

void Publisher::State::start_reading() {
  if (reading || failure) return;
  reading = true;
  const auto ended = [self = shared_from_this()](const std::exception_ptr& error) {
    self->reading = false;
    if (!self->failure) self->failure = error;
    self->changed.cancel();
  };
  boost::asio::co_spawn(executor, read(shared_from_this()), boost::asio::bind_cancellation_slot(stop.slot(), ended));
}

task<> Publisher::State::read(std::shared_ptr<State> self) {
  for (;;) {
    const std::vector<Confirmation> answers = co_await self->producer->confirmations();
    for (const Confirmation& answer : answers) self->answered(answer);
    self->changed.cancel();
  }
}

void Publisher::State::answered(const Confirmation& answer) {
  switch (answer.answer) {
    case Confirmation::Answer::confirmed:
      counts.confirmed += answer.count;
      break;
    case Confirmation::Answer::refused:
      counts.refused += answer.count;
      break;
    case Confirmation::Answer::in_doubt:
      counts.in_doubt += answer.count;
      break;
  }
  for (auto at = waiters.lower_bound(answer.first); at != waiters.end() && at->first < answer.first + answer.count;
       ++at) {
    Waiter& waiter = *at->second;
    waiter.answer = answer;
    waiter.answer.first = at->first;
    waiter.answer.count = 1;
    const auto offset = static_cast<std::uint32_t>(at->first - answer.first);
    if (const auto id = parse_id(answer.id); id && offset > 0) {
      waiter.answer.id = print_id(id->queue, id->segment, id->index + offset);
    }
    waiter.answered = true;
  }
  if (listener) listener(answer);
}

void Publisher::State::schedule_flush() {
  if (std::exchange(flush_scheduled, true)) return;
  boost::asio::post(executor, [self = shared_from_this()] {
    self->flush_scheduled = false;
    if (self->producer) self->producer->flush();
  });
}

bool Publisher::State::offer(std::string_view queue, std::string_view type, std::string_view bytes,
                             const PublishOptions& options) {
  if (failure) std::rethrow_exception(failure);
  if (type != type_checked) {
    engine::check_type(queue, type);
    type_checked = type;
  }
  start_reading();
  headers.clear();
  if (const std::span<const HeaderView> given = options.headers.view(); !given.empty()) {
    v1::Body head;
    for (const HeaderView& header : given) {
      auto* out = head.add_headers();
      out->set_name(std::string(header.name));
      out->set_value(std::string(header.value));
    }
    head.SerializeToString(&headers);
  }
  protocol::append_payload_tag(bytes.size(), headers);
  engine::Outgoing message;
  message.queue = queue;
  message.type = type;
  message.key = options.key;
  message.unique_id = options.unique_id;
  message.body_head = headers;
  message.body = bytes;
  message.delay = options.delay;
  message.deliver_at = options.deliver_at;
  message.priority = options.priority;
  engine::check_publishable(message);
  const auto number = producer->offer(message);
  if (!number) return false;
  last_number = *number;
  ++counts.sent;
  schedule_flush();
  return true;
}

task<> Publisher::State::change() {
  boost::system::error_code ignored;
  co_await changed.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  // A timer's wait ends in the same way by a wake-up and by a cancellation.
  const auto cancelled = co_await boost::asio::this_coro::cancellation_state;
  if (cancelled.cancelled() != boost::asio::cancellation_type::none) {
    throw boost::system::system_error(boost::asio::error::operation_aborted);
  }
  if (failure) std::rethrow_exception(failure);
}

Publisher::Publisher(engine::Engine& engine, boost::asio::any_io_executor executor)
    : state_(std::make_shared<State>(engine, std::move(executor))) {}

Publisher::~Publisher() {
  // The reader unwinds without another look at the producer. The producer closes its connection at once.
  if (state_->reading) state_->stop.emit(boost::asio::cancellation_type::terminal);
  state_->listener = nullptr;
  state_->producer.reset();
}

bool Publisher::try_send(std::string_view queue, std::string_view type, std::string_view payload,
                         const PublishOptions& options) {
  return state_->offer(queue, type, payload, options);
}

bool Publisher::try_send(std::string_view queue, const google::protobuf::MessageLite& message,
                         const PublishOptions& options) {
  message.SerializeToString(&state_->payload);
  return state_->offer(queue, message.GetTypeName(), state_->payload, options);
}

task<> Publisher::room(std::string_view queue) {
  if (state_->failure) std::rethrow_exception(state_->failure);
  state_->start_reading();
  co_await state_->producer->room(queue);
}

task<> Publisher::send(std::string_view queue, std::string_view type, std::string_view payload,
                       PublishOptions options) {
  while (!state_->offer(queue, type, payload, options)) co_await room(queue);
}

task<Confirmation> Publisher::publish(std::string_view queue, const google::protobuf::MessageLite& message,
                                      PublishOptions options) {
  const std::string type = message.GetTypeName();
  const std::string payload = message.SerializeAsString();
  co_return co_await publish_raw(queue, type, payload, options);
}

task<Confirmation> Publisher::publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                                          PublishOptions options) {
  const auto state = state_;
  co_await send(queue, type, payload, options);
  State::Waiter waiter;
  const std::uint64_t number = state->last_number;
  state->waiters[number] = &waiter;
  /// Removes the waiter however this ends, so that no answer is written into a frame that is gone.
  struct Leave {
    State& state;
    std::uint64_t number;
    ~Leave() { state.waiters.erase(number); }
  };
  const Leave leave{*state, number};
  while (!waiter.answered) co_await state->change();
  co_return std::move(waiter.answer);
}

task<> Publisher::flush() {
  const auto state = state_;
  if (state->failure) std::rethrow_exception(state->failure);
  state->producer->flush();
  while (state->counts.unanswered() > 0) co_await state->change();
}

task<> Publisher::close() {
  const auto state = state_;
  co_await state->producer->close();
  if (!state->failure) state->failure = std::make_exception_ptr(Error("this publisher was closed; make another"));
  if (state->reading) state->stop.emit(boost::asio::cancellation_type::terminal);
}

const Publisher::Counts& Publisher::counts() const { return state_->counts; }

std::uint64_t Publisher::last_number() const { return state_->last_number; }

void Publisher::on_answer(std::function<void(const Confirmation&)> listener) { state_->listener = std::move(listener); }

}  // namespace weir
