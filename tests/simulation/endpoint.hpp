#pragma once

/// A client machine on the stage: what client.cpp is to the real one. It makes and drops lines as the machine says,
/// carries its frames and ticks it.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "network.hpp"
#include "weir/engine/weir/client_machine.hpp"

namespace weir::simulation {

inline constexpr std::uint32_t nobody = ~0U;

class Endpoint;

/// Every endpoint there is or was, by number; and whether the broker listens.
struct Clients {
  std::vector<Endpoint*> all;
  bool broker_listens = false;
  std::uint32_t broker_life = 0;
  std::uint32_t store = 0;  ///< the broker's: counted, each one that was wiped or put back
};

class Endpoint {
 public:
  /// `process`: whose life it vouches for, if anybody's.
  Endpoint(Stage& stage, Network& network, Clients& clients, std::string name, ProcessId process);
  virtual ~Endpoint() = default;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  [[nodiscard]] virtual engine::weir_broker::ClientMachine& machine() = 0;
  /// Something has changed: look.
  virtual void changed() {}

  /// After anything was done to the machine.
  void carry_out();
  void start();
  void frame(LineId from, std::string bytes);
  void ended(LineId line);
  void tick();
  /// Its process is dead: nothing is said any more. What is under way may arrive.
  void die();

  [[nodiscard]] bool is_dead() const { return dead_; }
  [[nodiscard]] bool is_planned(const Event& tick) const { return !dead_ && tick.b == ticks_planned_; }
  [[nodiscard]] LineId line() const { return line_; }
  [[nodiscard]] std::uint32_t number() const { return number_; }
  [[nodiscard]] ProcessId process() const { return process_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] virtual bool is_publisher() const { return false; }
  WorkerId worker = nobody;
  std::int64_t paused_until_us = 0;

 protected:
  Stage& stage_;
  Network& network_;
  std::int64_t silent_us_ = 0;  ///< the longest that it heard nothing since the last WELCOME
  /// And until then: that may be an old one, which came late by a connection that the broker had missed long before.
  std::int64_t silent_before_us_ = 0;

 private:
  void arm();
  void hear(LineId from, const std::string& bytes);

  Clients& clients_;
  StoreHeard heard_;
  std::string name_;
  ProcessId process_;
  std::uint32_t number_;
  LineId line_ = 0, heard_on_ = 0;
  std::int64_t heard_at_us_ = Clock{}.now_us;
  std::int64_t armed_for_us_ = std::numeric_limits<std::int64_t>::max();
  std::uint32_t ticks_planned_ = 0;  // an earlier plan is void
  bool dead_ = false;
};

/// Settings of a client of this run.
[[nodiscard]] engine::weir_broker::ClientSettings client_settings(const Stage& stage, std::uint64_t salt);

}  // namespace weir::simulation
