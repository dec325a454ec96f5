#pragma once

/// Worker processes: each with its shards (the real session machine under handlers that do as the dice say), its
/// keep-alive thread, a parent that reports its death, and a drain.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "endpoint.hpp"

namespace weir::simulation {

class Shard;
class KeepAlive;
class Reporter;

class ProcessHost {
 public:
  /// `plan`: which of the scenario's processes it is a life of.
  ProcessHost(Stage& stage, Network& network, Clients& clients, std::size_t plan, std::uint32_t number);
  ~ProcessHost();

  /// kill -9. `reported_after_us`: when its parent says so; negative: there is nobody to say it.
  void crash(std::int64_t reported_after_us);
  /// A message of its own ends it. False if it is over already, or its handler was cancelled.
  [[nodiscard]] bool dies_of(Uid uid, HoldingId holding, bool is_told);
  /// SIGSTOP of all of it, or of one shard: then its keep-alive thread goes on.
  void pause(std::int64_t for_us, bool one_shard);
  /// Ends in good order, at the latest after `limit_us`.
  void drain(std::int64_t limit_us);
  /// The next thing that it planned: its death is reported, or its drain has come to an end.
  void step();
  /// Every handler answers from now on, nothing is paused.
  void heal();

  [[nodiscard]] bool is_dead() const { return dead_; }
  [[nodiscard]] bool is_draining() const { return drained_by_us_ != 0; }
  [[nodiscard]] std::size_t plan() const { return plan_; }
  [[nodiscard]] std::uint64_t unconfirmed() const;

 private:
  /// `died_of`: the message that ended it; 0: none did.
  void end(Uid died_of);
  void write_report(std::int32_t signal);
  void told_after(std::int64_t time_us);

  Stage& stage_;
  Network& network_;
  Clients& clients_;
  std::size_t plan_;
  std::uint32_t number_;
  ProcessToken token_;
  ProcessId process_;
  Random random_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<KeepAlive> keep_alive_;
  v1::DeathReport report_;  ///< what its parent has to say of its death
  std::unique_ptr<Reporter> reporter_;
  bool dead_ = false;
  std::int64_t drained_by_us_ = 0;
};

/// Events of shards, by their endpoint.
void handler_end(Endpoint& shard, std::uint32_t ticket, HoldingId holding);
void shard_turn(Endpoint& shard);
[[nodiscard]] std::uint32_t host_of(const Endpoint& shard);

}  // namespace weir::simulation
