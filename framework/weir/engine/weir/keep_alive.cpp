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

  std::promise<void> connected;  ///< set at the first connection

 protected:
  void hello(Instant) override {
    v1::Frame head;
    *head.mutable_hello() = hello_of(v1::KEEP_ALIVE);
    head.mutable_hello()->set_process_token(std::string(options_.process.view()));
    send(head);
  }
  void welcomed(Instant now, const v1::Welcome&) override {
    beat();  // at once: the session timeout is known now
    if (std::exchange(was_connected_, true)) {
      vouch(now);
    } else {
      connected.set_value();
      next_ = now + session_timeout() / 4;  // its sessions are just saying HELLO
    }
  }
  // An unknown token is no error: the process's sessions are about to say HELLO, or have said goodbye.
  void received(Instant, const std::shared_ptr<Received>&) override {}
  void ticked(Instant now) override {
    // The thread does nothing else, so its own run shows that the process ran.
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

/// The keep-alive's thread, with a loop and a connection of its own.
class KeepAliveThread final : public KeepAlive {
 public:
  KeepAliveThread(const std::string& url, KeepAliveOptions options, const Notice& notice)
      : options_(std::move(options)),
        connector_(endpoint_of(url)),
        machine_(this_process(), options_),
        client_(loop_.get_executor(), connector_, machine_, notice),
        connected_(machine_.connected.get_future()) {
    client_.start();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~KeepAliveThread() override {
    loop_.stop();
    thread_.join();
  }

  void now() override {
    asio::post(loop_, [this] {
      machine_.vouch(weir_broker::now());
      client_.carry_out();
    });
  }
  bool wait_connected(Duration limit) override { return connected_.wait_for(limit) == std::future_status::ready; }

 private:
  KeepAliveOptions options_;
  asio::io_context loop_{1};
  ZmqConnector connector_;
  KeepAliveMachine machine_;
  Client client_;
  std::future<void> connected_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<KeepAlive> make_keep_alive(const std::string& url, KeepAliveOptions options, const Notice& notice) {
  return std::make_unique<KeepAliveThread>(url, std::move(options), notice);
}

}  // namespace weir::engine::weir_broker
