#pragma once

/// One shard: the real session machine, and handlers that end as the dice say.

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "endpoint.hpp"
#include "poison.hpp"
#include "weir/engine/weir/session_machine.hpp"

namespace weir::simulation {

class Shard final : public Endpoint {
 public:
  Shard(Stage& stage, Network& network, Clients& clients, std::string name, ProcessId process,
        engine::SessionOptions options);

  [[nodiscard]] engine::weir_broker::ClientMachine& machine() override { return machine_; }
  void changed() override;
  void handler_end(engine::Ticket ticket, HoldingId holding);
  /// What has ended is settled, in one frame.
  void turn();
  void stop_taking();
  void goodbye();
  void heal();
  /// Running handlers are cancelled: given back.
  void release_all();

  /// What its handlers were at when it died, for the report of its death; and those that had ended, the last one first.
  void report(v1::DeathReport& report) const;
  /// Its handler has not ended.
  [[nodiscard]] bool is_at(HoldingId holding) const;
  std::uint32_t host = 0;  ///< the number of its process

  [[nodiscard]] bool is_idle() const;
  [[nodiscard]] std::uint64_t unconfirmed() const { return machine_.unconfirmed().settlements; }

 private:
  struct Running {
    HoldingId holding{};
    Uid uid{};
    std::uint32_t queue{};  ///< of its session
    std::size_t bytes{};
    Outcome outcome{};
    bool running = false;
    bool silent = false;  ///< answers only once the world has healed
    bool ended = false;   ///< to be settled with the next turn
    std::uint32_t outputs{};
    Poison poison{};
  };

  void take();
  void begin(const engine::Delivery& delivery, std::int64_t batch_takes_us);
  void give_back(const engine::Batch::Recall& recall);
  /// Promise 2, with sums of its own: what it has at work, of which the session may know more than it.
  void check_window() const;
  [[nodiscard]] engine::Settlement settlement_of(engine::Ticket ticket);
  [[nodiscard]] engine::Output make_output(Random& random, std::vector<Uid>& made);
  void will_turn(std::int64_t most_us);

  const engine::SessionOptions options_;
  engine::weir_broker::SessionMachine machine_;
  std::vector<Running> running_;  // by ticket
  std::vector<engine::Ticket> ended_;
  std::deque<Uid> ended_last_;  ///< as the flight recorder has them, the last one first
  std::vector<engine::Settlement> settlements_;
  Random random_;
  bool turn_planned_ = false;
};

}  // namespace weir::simulation
