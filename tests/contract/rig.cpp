#include "rig.hpp"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <random>
#include <variant>

#include "weir/engine/memory/memory_broker.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::contract {

using engine::Batch;
using engine::Confirmation;
using engine::Settlement;

std::vector<std::pair<std::string, QueuePolicy>> queues() {
  QueuePolicy policy;
  policy.attempts = 3;
  policy.backoff.first = std::chrono::milliseconds(50);
  policy.backoff.jitter = 0;
  return {{"orders", policy}, {"emails", policy}};
}

namespace {

class MemoryRig final : public Rig {
 public:
  MemoryRig() {
    broker::core::Config config;
    config.session_timeout = session_timeout;
    config.message_most = Bytes{message_most};
    for (const auto& [name, policy] : queues()) config.queues.push_back({name, policy});
    broker_ = std::make_shared<engine::memory::MemoryBroker>(std::move(config));
    engine_ = engine::memory::make_engine(broker_);
  }
  [[nodiscard]] engine::Engine& engine() override { return *engine_; }
  void restart() override { broker_->restart(); }
  [[nodiscard]] std::vector<v1::DeadLetter> dead(const std::string& queue) override { return broker_->dead(queue); }
  void replay(const std::string& queue) override { broker_->replay(queue); }
  [[nodiscard]] v1::Queues::Queue queue(const std::string& name) override {
    const v1::Queues all = broker_->queues();
    for (const auto& one : all.queues()) {
      if (one.name() == name) return one;
    }
    return {};
  }

 private:
  std::shared_ptr<engine::memory::MemoryBroker> broker_;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace

std::vector<RigKind> rig_kinds() { return {{"memory", make_memory_rig}, {"weir", make_weir_rig}}; }

std::unique_ptr<Rig> make_memory_rig() { return std::make_unique<MemoryRig>(); }

Worker::Worker(engine::Engine& engine, boost::asio::io_context& loop, std::vector<std::string> queues, Load window)
    : loop_(loop) {
  engine::SessionOptions options;
  options.group = "contract";
  options.process = random_token();
  options.window = window;
  for (auto& queue : queues) options.queues.push_back({std::move(queue), {}});
  session_ = engine.session(loop.get_executor(), std::move(options));
}

Worker::Worker(engine::Engine& engine, boost::asio::io_context& loop, engine::SessionOptions options)
    : loop_(loop), session_(engine.session(loop.get_executor(), std::move(options))) {}

task<std::vector<Got>> Worker::take(std::size_t count, Duration limit) {
  using namespace boost::asio::experimental::awaitable_operators;
  std::vector<Got> taken;
  boost::asio::steady_timer timer(loop_, limit);
  while (taken.size() < count) {
    auto either = co_await (session_->receive() || timer.async_wait(boost::asio::use_awaitable));
    if (either.index() == 1) break;
    Batch& batch = std::get<0>(either);
    lost.insert(lost.end(), batch.lost.begin(), batch.lost.end());
    for (const auto& delivery : batch.deliveries) {
      Got& got = taken.emplace_back();
      got.ticket = delivery.ticket;
      got.attempt = delivery.attempt;
      got.id = session_->id(delivery);
      got.name = delivery.name;
      got.type = delivery.type;
      got.key = delivery.key;
      const auto body = protocol::decode_body(delivery.body);
      got.payload = body.has_value() ? std::string(body->payload) : "not a Body";
    }
  }
  co_return taken;
}

void Worker::settle(const std::vector<Got>& what, Outcome outcome) {
  std::vector<Settlement> settlements;
  for (const Got& got : what) settlements.push_back({got.ticket, outcome, nullptr});
  session_->settle(settlements);
}

void Worker::settle(const Got& what, Outcome outcome, engine::SettlementDetail detail) {
  std::vector<Settlement> settlements;
  settlements.push_back({what.ticket, outcome, std::make_unique<engine::SettlementDetail>(std::move(detail))});
  session_->settle(settlements);
}

Publisher::Publisher(engine::Engine& engine, boost::asio::io_context& loop)
    : producer_(engine.producer(loop.get_executor())) {}

task<std::vector<Confirmation>> Publisher::publish(std::string queue, std::vector<std::string> payloads,
                                                   engine::Outgoing like) {
  std::vector<Confirmation> all;
  for (const std::string& payload : payloads) {
    const std::string body = body_of(payload);
    like.queue = queue;
    like.body = body;
    if (like.type.empty()) like.type = "contract.Message";
    while (!producer_->offer(like)) co_await producer_->room(queue);
  }
  producer_->flush();
  while (producer_->unanswered() > 0) {
    const std::vector<Confirmation> some = co_await producer_->confirmations();
    all.insert(all.end(), some.begin(), some.end());
  }
  co_return all;
}

std::string body_of(const std::string& payload) {
  std::string body;
  protocol::append_body(payload, body);
  return body;
}

ProcessToken random_token() {
  static std::mt19937_64 random{std::random_device{}()};
  ProcessToken token;
  for (auto& byte : token.bytes) byte = static_cast<unsigned char>(random());
  return token;
}

engine::Output output_to(const std::string& queue, const std::string& payload) {
  engine::Output output;
  output.queue = queue;
  output.type = "contract.Output";
  output.body = body_of(payload);
  return output;
}

void run(boost::asio::io_context& loop, const std::function<task<>()>& body, std::chrono::seconds limit) {
  bool ended = false;
  std::exception_ptr thrown;
  boost::asio::co_spawn(loop, body, [&](std::exception_ptr error) {
    thrown = error;
    ended = true;
    loop.stop();
  });
  loop.restart();
  loop.run_for(limit);
  EXPECT_TRUE(ended) << "still running after " << limit.count() << " s";
  if (thrown) std::rethrow_exception(thrown);
}

task<> pause(Duration time) {
  const auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor, time);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

}  // namespace weir::contract
