#pragma once

/// A worker shard's session with the broker, without I/O.
///
/// Its deliveries outlive its connections. After a reconnect it claims its leases: those that it holds, and those that
/// it settled without an answer. Tickets stay the same. It never holds more than its window: if a broker sends more,
/// that is an error, and the session ends (promise 2).

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/engine/weir/client_machine.hpp"
#include "weir/engine/weir/settlements.hpp"

namespace weir::engine::weir_broker {

class SessionMachine final : public ClientMachine {
 public:
  SessionMachine(ClientSettings settings, SessionOptions options);

  /// Returns the next deliveries, or losses, if there are any.
  [[nodiscard]] std::optional<Batch> take(Instant now);
  /// Takes the settlements of one turn, for one frame.
  void settle(Instant now, std::span<Settlement> settlements);
  /// Takes no more deliveries. Those that were not taken, or still come, are released unseen.
  void stop_taking(Instant now);

  [[nodiscard]] Unconfirmed unconfirmed() const;
  [[nodiscard]] bool has_queue(std::string_view queue) const { return queue_ids_.contains(std::string(queue)); }
  [[nodiscard]] std::string id(const Delivery& delivery) const;
  [[nodiscard]] Bytes message_most() const { return message_most_; }
  /// The load that is held unsettled, by this side's count.
  [[nodiscard]] Load outstanding() const { return outstanding_; }

 protected:
  void hello(Instant now) override;
  void welcomed(Instant now, const v1::Welcome& welcome) override;
  void received(Instant now, const std::shared_ptr<Received>& frame) override;
  void disconnected(Instant now) override;
  [[nodiscard]] bool refused(Instant now, const std::string& why) override {
    return settlements_.session_refused(why, now);
  }
  void ticked(Instant now) override;
  /// Never without a connection: nothing can be sent, and the ticks would follow without a pause.
  [[nodiscard]] Instant ticks_next() const override { return is_up() ? settlements_.again_at() : Instant::max(); }

 private:
  enum class Station : std::uint8_t {
    free,
    ready,  ///< not yet taken
    taken,  ///< the worker has it
    lost,   ///< the worker has not been told yet
  };
  struct Held {
    std::uint64_t segment{};
    std::uint64_t lease{};
    std::uint32_t queue{};  ///< the broker's id
    std::uint32_t index{};
    std::uint32_t bytes{};
    Station station = Station::free;
    LeaseId origin;  ///< the lease as it was delivered, before any WELCOME renamed it
  };
  /// One message of a HELLO's claims, and the answer to it.
  struct Claimed {
    std::uint32_t queue{};
    std::uint64_t segment{};
    std::uint32_t index{};
    std::uint64_t lease{};
    std::uint32_t at{};  ///< held: its ticket; settled: its place in the order of Settlements::for_each
    bool held = false;
    LeaseId origin;
    enum class Answer : std::uint8_t { none, stale, granted } answer{};
    std::uint64_t new_lease{};
  };

  static bool is_unanswered(const Claimed& claim) { return claim.answer == Claimed::Answer::none; }
  void gather_claims();
  v1::Hello send_attachments(v1::Hello part);
  void send_claims(v1::Hello first);
  void answer_claims(const v1::Welcome& welcome);
  void deliver(Instant now, const std::shared_ptr<Received>& frame);
  bool fits(Instant now, const Received& frame);
  void hand_out(const std::shared_ptr<Received>& frame);
  void settled(Instant now, const v1::Settled& settled);
  void recalled(const v1::Recall& recall);
  void lose(std::uint64_t lease, std::uint32_t count);
  void lose_held(std::uint64_t lease, std::uint32_t count);
  void lose(Ticket ticket);
  void unstash(Instant now);
  void release_ready(Instant now);
  void say_window();
  void send_settlements(Instant now);
  [[nodiscard]] SettledRun run_of(Ticket ticket, Settlement& settlement);
  void free(Ticket ticket);

  SessionOptions options_;
  std::vector<Held> held_;  // by ticket
  std::vector<Ticket> free_;
  Load outstanding_;
  std::deque<Batch> ready_;
  bool ready_has_lost_ = false;
  std::vector<Ticket> lost_;
  std::vector<Batch::Recall> recalls_;
  // Deliveries that came while the tickets of lost ones were not free yet, and those of them that were lost since.
  struct Stashed {
    std::shared_ptr<Received> frame;
    std::size_t messages{};
  };
  std::deque<Stashed> stash_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> stash_lost_;
  Settlements settlements_;
  std::vector<Settlement> deferred_;  // made between HELLO and WELCOME: their leases are about to change
  std::vector<SettledRun> runs_;      // reused
  std::vector<Claimed> claims_;
  std::uint32_t incarnation_ = 0;
  std::unordered_map<std::uint32_t, std::uint32_t> attachments_;  // index into options_.queues, by the broker's id
  std::unordered_map<std::string, std::uint32_t> queue_ids_;
  Bytes message_most_;
  std::uint64_t window_epoch_ = 1;
  std::uint64_t window_said_ = 0;
  bool stopping_ = false;
};

}  // namespace weir::engine::weir_broker
