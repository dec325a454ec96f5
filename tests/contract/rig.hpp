#pragma once

/// What the contract suite asks of an engine's surroundings: a broker that can be stopped, cut off and looked at.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/message/policy.hpp"
#include "weir/v1/control.pb.h"

namespace weir::contract {

/// The queues of every rig: `orders` and `emails`, three attempts, a backoff of 50 ms without jitter.
[[nodiscard]] std::vector<std::pair<std::string, QueuePolicy>> queues();
inline constexpr Duration session_timeout = std::chrono::milliseconds(1200);
inline constexpr std::uint64_t message_most = 256 * 1024;

class Rig {
 public:
  virtual ~Rig() = default;
  [[nodiscard]] virtual engine::Engine& engine() = 0;
  /// Of a broker that other clients can reach; empty if there is none.
  [[nodiscard]] virtual std::string url() { return {}; }
  /// As a crash and a start of the broker.
  virtual void restart() = 0;
  [[nodiscard]] virtual std::vector<v1::DeadLetter> dead(const std::string& queue) = 0;
  /// All of its dead letters.
  virtual void replay(const std::string& queue) = 0;
  [[nodiscard]] virtual v1::Queues::Queue queue(const std::string& name) = 0;
};

struct RigKind {
  std::string name;
  std::function<std::unique_ptr<Rig>()> make;
};
/// Every engine that there is.
[[nodiscard]] std::vector<RigKind> rig_kinds();
[[nodiscard]] std::unique_ptr<Rig> make_memory_rig();
[[nodiscard]] std::unique_ptr<Rig> make_weir_rig();

/// A delivery that outlives its batch.
struct Got {
  engine::Ticket ticket{};
  std::uint32_t attempt{};
  std::string id;
  MessageName name;
  std::string type;
  std::string key;
  std::string payload;
};

/// A worker's session, or a publisher, on a loop that the test runs.
class Worker {
 public:
  Worker(engine::Engine& engine, boost::asio::io_context& loop, std::vector<std::string> queues, Load window);
  Worker(engine::Engine& engine, boost::asio::io_context& loop, engine::SessionOptions options);

  /// Takes deliveries until there are `count`, or `limit` is over; what was lost goes to `lost`.
  [[nodiscard]] task<std::vector<Got>> take(std::size_t count, Duration limit = std::chrono::seconds(10));
  void settle(const std::vector<Got>& what, Outcome outcome);
  void settle(const Got& what, Outcome outcome, engine::SettlementDetail detail);
  [[nodiscard]] engine::Session& session() { return *session_; }
  /// Ends it without a word, as a crash does.
  void drop() { session_.reset(); }
  std::vector<engine::Ticket> lost;

 private:
  boost::asio::io_context& loop_;
  std::unique_ptr<engine::Session> session_;
};

class Publisher {
 public:
  Publisher(engine::Engine& engine, boost::asio::io_context& loop);
  /// Publishes, and awaits every answer. Throws what the engine throws.
  [[nodiscard]] task<std::vector<engine::Confirmation>> publish(std::string queue, std::vector<std::string> payloads,
                                                                engine::Outgoing like = {});
  [[nodiscard]] engine::Producer& producer() { return *producer_; }

 private:
  std::unique_ptr<engine::Producer> producer_;
};

[[nodiscard]] std::string body_of(const std::string& payload);
[[nodiscard]] ProcessToken random_token();
[[nodiscard]] engine::Output output_to(const std::string& queue, const std::string& payload);

/// Runs a named coroutine lambda to its end; a test that takes longer than `limit` fails.
void run(boost::asio::io_context& loop, const std::function<task<>()>& body,
         std::chrono::seconds limit = std::chrono::seconds(30));
[[nodiscard]] task<> pause(Duration time);

}  // namespace weir::contract
