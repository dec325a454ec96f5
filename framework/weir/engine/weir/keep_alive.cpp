#include "weir/engine/weir/keep_alive.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>
#include <utility>

#include "weir/engine/weir/engine.hpp"
#include "weir/engine/weir/zmq_transport.hpp"

namespace weir::engine::weir_broker {
namespace {

class KeepAliveMachine final : public ClientMachine {
 public:
  KeepAliveMachine(ClientSettings settings, const KeepAliveOptions& options)
      : ClientMachine(std::move(settings)), options_(options) {}

  void vouch(Instant now) {
    if (!is_up()) return;
    next_ = now + session_timeout() / 4;
    head_.Clear();
    v1::KeepAlive& alive = *head_.mutable_keep_alive();
    alive.set_process_token(std::string(options_.process.view()));
    if (options_.look) {
      for (const ShardActivity& shard : options_.look()) {
        auto* state = alive.add_shards();
        state->set_shard(shard.shard);
        state->set_since_turn_us(static_cast<std::uint64_t>(std::max(Duration{0}, shard.since_turn).count()));
        state->set_running(shard.running);
        state->set_stuck(shard.stuck);
      }
    }
    send(head_);
  }

  std::promise<void> connected;  ///< for the first time

 protected:
  void hello(Instant) override {
    v1::Frame head;
    *head.mutable_hello() = hello_of(v1::KEEP_ALIVE);
    head.mutable_hello()->set_process_token(std::string(options_.process.view()));
    send(head);
  }
  void welcomed(Instant now, const v1::Welcome&) override {
    beat();  // at once: it is known now what session timeout holds
    if (std::exchange(was_connected_, true)) {
      vouch(now);
    } else {
      connected.set_value();
      next_ = now + session_timeout() / 4;  // its sessions are only now saying HELLO
    }
  }
  // An unknown token is no matter: the process's sessions are about to say HELLO, or have said goodbye.
  void received(Instant, const std::shared_ptr<Received>&) override {}
  void ticked(Instant now) override {
    // The thread itself tells whether the process ran: it does nothing else.
    if (ran_at_ != Instant{} && now - ran_at_ > session_timeout() && options_.overslept) {
      options_.overslept(now - ran_at_);
    }
    ran_at_ = now;
    beat();
    if (now >= next_) vouch(now);
  }
  [[nodiscard]] Instant ticks_next() const override {
    return is_up() ? std::min(next_, ran_at_ + session_timeout() / 4) : ran_at_ + session_timeout() / 4;
  }

 private:
  void beat() const {
    if (options_.beat) options_.beat(session_timeout());
  }

  const KeepAliveOptions& options_;
  Instant next_;
  Instant ran_at_;
  bool was_connected_ = false;
  v1::Frame head_;
};

v1::Started::Part part_of(StartedDelivery::Part part) {
  switch (part) {
    case StartedDelivery::Part::culprit:
      return v1::Started::CULPRIT;
    case StartedDelivery::Part::on_cpu:
      return v1::Started::ON_CPU;
    case StartedDelivery::Part::ended:
      return v1::Started::ENDED;
    case StartedDelivery::Part::suspended:
      break;
  }
  return v1::Started::SUSPENDED;
}

/// Of those whose handlers waited so many are named, as all fits one frame: what is not named returns unsuspected.
constexpr std::size_t suspended_most = 8192;

v1::DeathReport report_of(const ProcessToken& process, const DeadProcess& dead) {
  v1::DeathReport report;
  report.set_process_token(std::string(process.view()));
  report.set_exit_code(dead.exit_code);
  report.set_signal(dead.signal);
  report.set_on_purpose(dead.on_purpose);
  std::size_t suspended = 0;
  for (const StartedDelivery& each : dead.started) {
    if (each.part == StartedDelivery::Part::suspended && suspended++ >= suspended_most) continue;
    v1::Started& started = *report.add_started();
    started.set_queue(each.queue);
    started.set_segment(each.segment);
    started.set_index(each.index);
    started.set_part(part_of(each.part));
    if (each.part < StartedDelivery::Part::on_cpu) continue;
    v1::Attempt& attempt = *started.mutable_attempt();
    attempt.set_started_at_us(each.started_at.time_since_epoch().count());
    attempt.set_duration_us(static_cast<std::uint64_t>(std::max(Duration{0}, each.duration).count()));
    attempt.set_error(each.error);
    attempt.set_stack(each.stack);
    attempt.set_memory_grown_bytes(each.memory_grown_bytes);
    for (const std::string& line : each.log) attempt.add_log(line);
  }
  report.set_stack(dead.stack);
  for (const std::string& line : dead.log) report.add_log(line);
  return report;
}

class DeathMachine final : public ClientMachine {
 public:
  DeathMachine(ClientSettings settings, v1::DeathReport report)
      : ClientMachine(std::move(settings)), report_(std::move(report)) {}
  std::optional<DeathAnswer> answer;

 protected:
  void hello(Instant) override {
    v1::Frame head;
    *head.mutable_hello() = hello_of(v1::KEEP_ALIVE);
    send(head);
  }
  void welcomed(Instant, const v1::Welcome&) override {
    v1::Frame head;
    *head.mutable_death() = report_;
    send(head);
  }
  void received(Instant, const std::shared_ptr<Received>& frame) override {
    if (frame->head.has_control_reply()) answer = DeathAnswer::reported;
  }
  void warned(Instant, const v1::Error& error) override {
    if (error.code() == v1::Error::UNKNOWN_TOKEN) answer = DeathAnswer::unknown;
  }

 private:
  v1::DeathReport report_;
};

}  // namespace

struct KeepAlive::State {
  explicit State(KeepAliveOptions the_options)
      : options(std::move(the_options)),
        connector(endpoint_of(options.url)),
        machine(this_process(), options),
        client(loop.get_executor(), connector, machine, options.notice),
        connected(machine.connected.get_future()) {
    client.start();
    thread = std::thread([this] { loop.run(); });
  }
  ~State() {
    loop.stop();
    thread.join();
  }

  KeepAliveOptions options;
  asio::io_context loop{1};
  ZmqConnector connector;
  KeepAliveMachine machine;
  Client client;
  std::future<void> connected;
  std::thread thread;
};

KeepAlive::KeepAlive(KeepAliveOptions options) : state_(std::make_unique<State>(std::move(options))) {}
KeepAlive::~KeepAlive() = default;

void KeepAlive::now() {
  asio::post(state_->loop, [state = state_.get()] {
    state->machine.vouch(weir_broker::now());
    state->client.carry_out();
  });
}

bool KeepAlive::wait_connected(Duration limit) {
  return state_->connected.wait_for(limit) == std::future_status::ready;
}

DeathAnswer report_death(const std::string& url, const ProcessToken& process, const DeadProcess& dead, Duration limit) {
  asio::io_context loop{1};
  ZmqConnector connector(endpoint_of(url));
  DeathMachine machine(this_process(), report_of(process, dead));
  Client client(loop.get_executor(), connector, machine, {});
  client.start();
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!machine.answer && !machine.failure() && std::chrono::steady_clock::now() < deadline) {
    loop.run_one_until(deadline);
  }
  return machine.answer.value_or(DeathAnswer::no_answer);
}

}  // namespace weir::engine::weir_broker
