#pragma once

/// The model: what every simulated message went through, in plain maps, and the promises as checks on it.
///
/// It hears what clients hear (edges.cpp), what the disk has (disk.cpp), and what the broker hands out (grants.cpp),
/// and knows nothing of sessions, segments' states or leases. A check that fails throws Broken; it names the promise.

#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "coverage.hpp"
#include "payload.hpp"
#include "scenario.hpp"
#include "weir/broker/core/action.hpp"
#include "weir/engine/engine.hpp"
#include "weir/message/outcome.hpp"
#include "weir/v1/control.pb.h"

namespace weir::simulation {

namespace core = broker::core;

/// A promise that was not kept.
struct Broken : std::runtime_error {
  Broken(std::string the_promise, const std::string& what)
      : std::runtime_error(the_promise + ": " + what), promise(std::move(the_promise)) {}
  std::string promise;
};

/// Virtual time. The wall clock is ahead of the other by as much as was jumped.
struct Clock {
  std::int64_t now_us = 1'000'000'000;
  std::int64_t wall_ahead_us = 1'700'000'000'000'000;
  [[nodiscard]] Instant instant() const { return Instant{Duration{now_us}}; }
  [[nodiscard]] std::int64_t wall_us() const { return now_us + wall_ahead_us; }
  [[nodiscard]] Now now() const { return {instant(), WallTime{Duration{wall_us()}}}; }
};

using WorkerId = std::uint32_t;   ///< a shard of one process
using ProcessId = std::uint32_t;  ///< of one life: who starts again is another
using HoldingId = std::uint32_t;

/// Everything that happens to one message, for the coverage table.
enum class MessageEvent : std::uint8_t {
  stored,
  confirmed,
  refused,
  in_doubt,
  granted,
  taken,
  compacted,
  settled,  ///< and one for each outcome, in their table's order
};

class Ledger {
 public:
  Ledger(const Scenario& scenario, const Clock& clock, CoverageTable& coverage);

  // What publishers do and hear.
  Uid make(std::size_t queue, Lane lane, std::size_t type, std::int64_t delay_us, std::size_t payload_bytes);
  void offered(Uid uid);
  void told_confirmed(Uid uid, const std::string& id);
  void told_refused(Uid uid);
  void told_in_doubt(Uid uid);
  /// Its publisher is dead: nobody waits for its answer.
  void abandoned(Uid uid);

  // What workers do and hear.
  ProcessId process_started();
  WorkerId worker_started(ProcessId process, const ProcessToken& token, std::uint32_t shard);
  /// The broker has read something that vouches for it.
  void heard(ProcessId process);
  /// Dead, or its drain is over: what it held, and had settled without being told, is nobody's.
  void process_ended(ProcessId process);
  HoldingId taken(WorkerId worker, std::string_view queue, const engine::Delivery& delivery);
  void told_lost(HoldingId holding);
  void settled(HoldingId holding, Outcome outcome, std::vector<Uid> outputs);
  /// The report of its process's death names it as the cause.
  void blamed(std::string_view queue, SegmentNumber segment, std::uint32_t index);
  [[nodiscard]] Place place_of(Uid uid) const { return message(uid).place; }

  // What the broker does.
  void broker_started(const core::Recovered& recovered, const v1::Queues& queues);
  /// It will not run for a while, and hear nobody: who has been silent for too long by now may be given up.
  void broker_pauses();
  /// It runs again after a pause: what waited is read before anybody's time is out.
  void broker_resumed();
  void granted(WorkerId worker, const core::Piece& piece);
  /// It tells a publisher that these places are confirmed.
  void says_confirmed(const v1::Confirmed& confirmed);
  /// WELCOME grants claims that an earlier incarnation's leases stand behind.
  void claims_granted(WorkerId worker);
  /// All of `batch` is on disk.
  void durable(const core::Batch& batch);

  // What operators do.
  [[nodiscard]] std::vector<Place> dead_letters(std::size_t queue) const;
  void asked_for_replay(const Place& place) { replays_.insert(place); }
  void asked_for_purge(const Place& place) { purges_.insert(place); }

  /// True if nothing is on its way any more.
  [[nodiscard]] bool is_done() const;
  /// All is well, and has been for long: every message has ended.
  void check_end(const v1::Queues& queues, const v1::Workers& workers) const;
  /// The world's events, for each message in its state: a column each, behind those of MessageEvent and outcomes.
  void happened(std::size_t column);
  /// One line a message that has not ended, for whoever reads a trace.
  [[nodiscard]] std::string unfinished() const;

  [[nodiscard]] bool is_output(Uid uid) const { return message(uid).source != 0; }

 private:
  enum class Where : std::uint8_t { nowhere, segment, record, gone, dead, purged };
  enum class Told : std::uint8_t { nothing, confirmed, refused, in_doubt, abandoned };
  struct Grant {
    std::uint64_t seq{};  ///< counts over all incarnations, as leases do
    std::uint32_t incarnation{};
    WorkerId worker{};
    std::int64_t at_us{};
    std::uint32_t attempt{};
    Place place;
    bool forgotten = false;  ///< ahead of a commit that never was: the broker died, and knows nothing of it
  };
  struct Holding {
    Uid uid{};
    WorkerId worker{};
    std::uint64_t grant{};
    std::int64_t granted_at_us{};
    bool open = true;
    bool settled = false;
    bool applied = false;    ///< its outcome is on disk, or leaves nothing to write
    bool forgotten = false;  ///< its grant is
    Outcome outcome{};
    std::vector<Uid> outputs;
  };
  struct Message {
    QueueId queue{};
    Lane lane{};
    std::uint16_t type{};
    std::int64_t delay_us{};
    std::size_t payload_bytes{};
    bool offered = false;
    std::int64_t offered_at_us{};
    HoldingId source{};  ///< an output: whose ack it leaves with
    Where where = Where::nowhere;
    bool ahead = false;         ///< delivered at `place`, and not on disk
    std::uint32_t elided_in{};  ///< incarnation in which it was acked and confirmed without being written
    Told told = Told::nothing;
    Place place;
    std::uint32_t attempts{};  ///< that count, on disk
    std::int64_t due_us{};
    v1::Suspicion suspicion{};
    bool blamed = false;
    std::uint64_t applied_grant{};  ///< under which the last outcome was applied
    std::vector<Grant> grants;      ///< the last of each worker
    std::vector<HoldingId> holdings;
  };
  struct ProcessState {
    bool alive = true;
    std::int64_t heard_at_us{};
    std::int64_t expired_at_us = -1;  ///< when its time was last out
  };
  struct WorkerState {
    ProcessId process{};
    std::uint32_t shard{};
    ProcessToken token;
  };
  struct Totals {
    std::uint64_t published{}, acked{};  ///< of what was written
    std::uint64_t unwritten{};           ///< places delivered ahead that never were
  };

  [[nodiscard]] Message& message(Uid uid) { return messages_[uid - 1]; }
  [[nodiscard]] const Message& message(Uid uid) const { return messages_[uid - 1]; }
  [[nodiscard]] Holding& holding(HoldingId id) { return holdings_[id - 1]; }
  [[nodiscard]] const Holding& holding(HoldingId id) const { return holdings_[id - 1]; }
  [[nodiscard]] Uid uid_at(const Place& place) const;
  [[nodiscard]] std::string print(Uid uid) const;
  [[nodiscard]] std::string print(Uid uid, WorkerId worker) const;
  [[nodiscard]] const QueuePolicy& policy(const Message& message) const;
  [[nodiscard]] MessageState state_of(const Message& message) const;
  /// The broker's clock at a time of this incarnation.
  [[nodiscard]] std::int64_t broker_us(std::int64_t at_us) const { return started_wall_us_ + (at_us - started_at_us_); }
  void hit(const Message& message, MessageEvent event) { hit(message, static_cast<std::size_t>(event)); }
  void hit(const Message& message, std::size_t column);

  /// Whether the broker may have ended the worker's session since.
  [[nodiscard]] bool may_have_lost(WorkerId worker, std::int64_t since_us);
  /// What is delivered ahead has its place from then on.
  Uid placed_ahead(const core::Piece& piece, std::uint32_t offset);
  /// True if it was acked and that ack leaves nothing to write, or what it left with is on disk or elided too.
  bool elide(Uid uid);
  void forget_what_ran_ahead();
  /// It is published again after a broker died that had confirmed its ack, and was not heard.
  void begin_again(Message& message);
  void check_nobody_else(Uid uid, WorkerId worker, const char* what);
  void check_ends_are_committed(const Message& message, WorkerId worker) const;
  [[nodiscard]] bool may_apply(const Message& message, const Holding& holding) const;

  void on(const core::PutSegment& write);
  void on(const core::PutSettled& write);
  void on(const core::DropSegment& write);
  void on(const core::PutRecord& write);
  void on(const core::MoveMessage& write);
  void on(const core::DropRecord& write);
  void on(const core::ReplayDead& write);
  void on(const core::DropDead& write);
  void on(const core::NoteSession& write);
  void on(const core::ForgetSession& write);
  void on(const core::PutPublisher&) {}
  void on(const core::DropPublisher&) {}
  void on(const core::PutQueue& write);
  void check_moved_by_a_death(Uid uid, const core::MoveMessage& write);
  void store(Uid uid, const Place& place, Where where, Lane lane, std::string_view type, std::string_view key);
  void acked(Uid uid);
  void check_outputs();

  const Scenario& scenario_;
  const Clock& clock_;
  CoverageTable& coverage_;
  std::vector<Message> messages_;
  std::vector<Holding> holdings_;
  std::vector<ProcessState> processes_;
  std::vector<WorkerState> workers_;
  std::map<Place, Uid> places_;
  std::map<core::SegmentKey, std::vector<Uid>> segments_;  ///< on disk
  std::map<QueueId, Totals> totals_;
  using Session = std::pair<ProcessToken, std::uint32_t>;
  std::map<Session, std::int64_t> noted_;           ///< sessions, on disk, and since when
  std::map<Session, std::int64_t> noted_at_start_;  ///< of this incarnation
  std::set<Place> replays_, purges_;
  std::map<QueueId, std::int64_t> paused_until_us_;
  std::int64_t started_at_us_ = 0;  ///< this incarnation, and what the wall clock said then: by that messages are due
  std::int64_t started_wall_us_ = 0;
  std::uint32_t incarnation_ = 0;
  std::uint64_t grants_ = 0;
  std::size_t unfinished_ = 0;     ///< stored and not ended
  std::vector<Uid> batch_stored_;  ///< outputs of the batch that is being applied
  std::vector<HoldingId> batch_acks_;
};

}  // namespace weir::simulation
