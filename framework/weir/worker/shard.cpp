#include "weir/worker/shard.hpp"

#include <pthread.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <string>
#include <utility>

#include "weir/async/timeout.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/recorder/marks.hpp"

namespace weir::worker {

/// The part of drain_last that the goodbye may take.
// RULE: drain_has_an_end
constexpr Duration goodbye_most = std::chrono::seconds(1);

Shard::Shard(Home home, std::uint32_t index) : home_(std::move(home)), index_(index), watch_(home_.pulse) {}

Shard::~Shard() {
  if (thread_.joinable()) thread_.join();
}

void Shard::start() {
  std::promise<void> registered;
  std::future<void> done = registered.get_future();
  thread_ = std::thread([this, promise = std::move(registered)]() mutable { run(std::move(promise)); });
  done.get();
}

void Shard::go() {
  asio::post(loop_, [this] {
    asio::co_spawn(loop_, receive(),
                   asio::bind_cancellation_slot(stop_receiving_.slot(), [this](const std::exception_ptr& thrown) {
                     if (thrown && !draining_) fail(thrown);
                   }));
  });
}

void Shard::run(std::promise<void> registered) {
  pthread_setname_np(pthread_self(), ("weir-shard-" + std::to_string(index_)).c_str());
  recorder::make_known();
  recorder::set_own({&home_.recorder, &home_.recorder.shard(index_)});
  try {
    set_up();
  } catch (...) {
    registered.set_exception(std::current_exception());
    return;
  }
  registered.set_value();
  try {
    loop_.run();
    // Runs once more, for the handlers that the end of the drain cancelled.
    loop_.restart();
    loop_.poll();
  } catch (const Error&) {
    failure_ = std::current_exception();
  } catch (...) {
    // Not Weir's code: code of the plugin threw into the loop, by another executor than the one that it was given. Its
    // handler is unknown, so it ends the process as a crash would.
    if (recorder::is_installed()) std::terminate();
    failure_ = std::current_exception();
  }
  if (slots_->running() == 0) {
    // In this order, as a handler's clients and the session use the loop.
    session_.reset();
    registry_.reset();
    loop_.restart();
    loop_.poll();
  } else {
    // A handler that would not end still uses both, and this process is about to end.
    left_running_ = true;
    (void)session_.release();
    (void)registry_.release();
  }
  ended_.store(true, std::memory_order_release);
  home_.ended();
}

void Shard::set_up() {
  registry_ = std::make_unique<Registry>(home_.settings, index_, code_.executor());
  home_.registration(*registry_);
  registry_->check();
  types_ = registry_->types();
  if (index_ == 0) {
    const std::string& name = home_.settings.name;
    for (const auto& [queue, types] : registry_->unlisted()) {
      std::string known;
      for (const std::string& type : types) known += (known.empty() ? "" : ", ") + type;
      log::warn("handlers_not_used", {{"worker", name},
                                      {"plugin", home_.settings.plugin},
                                      {"queue", queue},
                                      {"types", known},
                                      {"why", "workers." + name + ".queues does not list '" + queue +
                                                  "'; list it there, unless another group handles it"}});
    }
  }
  session_ = home_.engine.session(loop_.get_executor(), engine::SessionOptions{.group = home_.settings.name,
                                                                               .process = home_.process,
                                                                               .shard = index_,
                                                                               .queues = registry_->attachments(),
                                                                               .window = home_.settings.window});
  slots_ = std::make_unique<Slots>(loop_, home_.settings, *registry_, *session_, Running(home_.recorder, index_));
  code_.runs_in(*slots_);
  slots_->set_frozen([this] {
    if (!watch_.missed()) return false;
    log::warn("process_was_stopped",
              {{"worker", home_.settings.name}, {"shard", index_}, {"held", slots_->window().load().messages}});
    return true;
  });
}

task<> Shard::receive() {
  for (;;) {
    engine::Batch batch = co_await session_->receive();
    slots_->take(std::move(batch));
    count_open();
  }
}

void Shard::count_open() {
  open_.store(slots_->window().load().messages.value + slots_->settler().unsent() + session_->unconfirmed().settlements,
              std::memory_order_relaxed);
}

void Shard::fail(const std::exception_ptr& thrown) {
  failure_ = thrown;
  failed_.store(true, std::memory_order_release);
  count_open();
  home_.ended();  // the worker drains all its shards, also this one: handlers that run may finish
}

void Shard::drain(Duration limit) {
  asio::post(loop_, [this, limit] {
    if (std::exchange(draining_, true)) return;
    asio::co_spawn(loop_, drain_in(limit), [this](const std::exception_ptr& thrown) {
      if (thrown && !failure_) failure_ = thrown;
      loop_.stop();
    });
  });
}

/// Awaits `work`, until `end` at most.
task<> Shard::wait_until(std::chrono::steady_clock::time_point end, task<> work) {
  try {
    co_await timeout(end - std::chrono::steady_clock::now(), std::move(work));
  } catch (const TimedOut&) {
  }
  count_open();
}

task<> Shard::drain_in(Duration limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  session_->stop_taking();
  slots_->release_unstarted();
  slots_->settler().flush();
  co_await wait_until(end, slots_->none_running());
  slots_->cancel();
  const auto last = std::min(end, std::chrono::steady_clock::now()) + drain_last - goodbye_most;
  co_await wait_until(last, slots_->none_running());
  slots_->settler().flush();
  if (failure_ == nullptr) co_await wait_until(last, session_->all_confirmed());
  stop_receiving_.emit(asio::cancellation_type::terminal);
  if (!given_up() || slots_->running() == 0) co_await session_->close();
  slots_->close();
}

}  // namespace weir::worker
