#include "weir/engine/weir/client.hpp"

#include <unistd.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <random>
#include <utility>

#include "weir/message/error.hpp"

namespace weir::engine::weir_broker {

Instant now() {
  return Instant{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
}

ClientSettings this_process() {
  ClientSettings settings;
  settings.build = "weir " WEIR_VERSION;
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) == 0) settings.host = host;
  settings.pid = static_cast<std::uint32_t>(getpid());
  settings.seed = std::random_device{}();
  return settings;
}

Client::Client(asio::any_io_executor executor, Connector& connector, ClientMachine& machine, Notice notice)
    : executor_(std::move(executor)),
      connector_(connector),
      machine_(machine),
      notice_(std::move(notice)),
      timer_(executor_),
      changed_(executor_, std::chrono::steady_clock::time_point::max()) {}

Client::~Client() = default;

void Client::start() {
  machine_.start(now());
  carry_out();
}

void Client::carry_out() {
  send_all();
  if (transport_ != nullptr && !machine_.is_open()) transport_.reset();
  if (transport_ == nullptr && machine_.wants_open(now())) connect();
  tell();
  arm();
}

void Client::connect() {
  try {
    transport_ = connector_.connect(executor_, *this);
    machine_.opened(now());
    send_all();
  } catch (const Error& error) {
    machine_.opened(now());
    machine_.ended(now(), error.what());
  }
}

void Client::send_all() {
  if (transport_ != nullptr) {
    for (std::string& frame : machine_.outbox) transport_->send(std::move(frame));
  }
  machine_.outbox.clear();
}

void Client::arm() {
  const Instant next = machine_.next_tick();
  if (next == Instant::max()) {
    // The machine is done for good. The timer is cancelled, so that it does not keep the loop running.
    if (std::exchange(armed_for_, next) != next) timer_.cancel();
    return;
  }
  // A time later than the armed one needs no new arming: the armed timer looks again.
  if (next >= armed_for_) return;
  armed_for_ = next;
  timer_.expires_at(std::chrono::steady_clock::time_point(next.time_since_epoch()));
  timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    armed_for_ = Instant::max();
    machine_.tick(now());
    carry_out();
    wake();
  });
}

void Client::tell() {
  if (machine_.is_up() != was_up_) {
    was_up_ = machine_.is_up();
    if (notice_) {
      if (was_up_) {
        notice_("connected", connector_.name());
      } else if (!machine_.last_error().empty()) {  // else the machine itself said goodbye
        notice_("connection_lost", connector_.name() + ": " + machine_.last_error());
      }
    }
    told_ = machine_.last_error();
  } else if (!was_up_ && machine_.last_error() != told_) {
    told_ = machine_.last_error();
    if (notice_) notice_("not_connected", connector_.name() + ": " + told_);
  }
}

void Client::on_frame(Slice bytes) {
  received_ = true;
  machine_.frame(now(), std::move(bytes));
}

void Client::on_turn() {
  if (!received_) return;
  received_ = false;
  // If the session has ended, this destroys the transport that calls this function.
  carry_out();
  wake();
}

void Client::on_ended(std::string why) {
  machine_.ended(now(), std::move(why));
  carry_out();
  wake();
}

task<> Client::changed() {
  boost::system::error_code ignored;
  co_await changed_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  // A timer's wait ends in the same way by a wake-up and by a cancellation.
  const auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) {
    throw boost::system::system_error(asio::error::operation_aborted);
  }
}

}  // namespace weir::engine::weir_broker
