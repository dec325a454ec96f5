#pragma once

/// The model: what every simulated message went through, in plain maps, and the promises as checks on it.
///
/// It hears what clients hear (edges.cpp), what the disk has (disk.cpp), and what the broker hands out (grants.cpp),
/// and knows nothing of sessions, segments' states or leases. A check that fails throws Broken; it names the promise.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock.hpp"
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
  /// `deliver_at_us`: by the wall clock; 0: it names no time.
  Uid make(std::size_t queue, Lane lane, std::size_t type, std::int64_t delay_us, std::size_t payload_bytes,
           std::int64_t deliver_at_us = 0);
  /// `publisher`: who will give it its number; `id` is its.
  void offered(Uid uid, std::uint32_t publisher, const PublisherId& id);
  /// The broker reads what was published, under which numbers.
  void numbered(const v1::Publish& publish, std::string_view run);
  void told_confirmed(Uid uid, const std::string& id);
  void told_refused(Uid uid);
  /// `silent_us`: so long it had heard nothing before it was told.
  void told_in_doubt(Uid uid, std::int64_t silent_us);
  /// Its publisher's session has ended before it was answered: it is sent again, and needs no credit for that.
  void to_be_sent_again(Uid uid);
  /// Its publisher is dead: nobody waits for its answer.
  void abandoned(Uid uid);

  // What workers do and hear.
  ProcessId process_started();
  WorkerId worker_started(ProcessId process, const engine::SessionOptions& session);
  /// The broker has read something that vouches for it.
  void heard(ProcessId process);
  /// Dead, or its drain is over: what it held, and had settled without being told, is nobody's.
  /// `died_of`: the message that ended it, if one did.
  void process_ended(ProcessId process, Uid died_of);
  /// A message has ended its process, once more.
  void ended_its_process(Uid uid, HoldingId holding, bool healed);
  HoldingId taken(WorkerId worker, std::string_view queue, const engine::Delivery& delivery);
  void told_lost(HoldingId holding);
  /// `asked`: the delay that it names, if it names one.
  void settled(HoldingId holding, Outcome outcome, std::optional<Duration> asked, std::vector<Uid> outputs);
  /// The report of its process's death names it as the cause.
  void blamed(std::string_view queue, SegmentNumber segment, std::uint32_t index);
  /// It is dead, and its parent will try to say so.
  void death_told(ProcessId process, const v1::DeathReport& report);
  [[nodiscard]] Place place_of(Uid uid) const { return message(uid).place; }

  // What the broker does.
  void broker_started(const core::Recovered& recovered, const v1::Queues& queues);
  /// It will not run for a while, and hear nobody: who has been silent for too long by now may be given up.
  void broker_pauses();
  /// It runs again after a pause: what waited is read before anybody's time is out.
  void broker_resumed();
  void granted(WorkerId worker, const core::Piece& piece);
  /// It has read a worker's HELLO. What the worker runs and does not claim, it knows to be lost, or will at its next
  /// turn.
  void claimed(WorkerId worker, const v1::Hello& hello);
  /// It has read a worker's HELLO, and welcomes it.
  void attached(WorkerId worker);
  /// A batch is closed: what is decided from now on comes to disk with a later one.
  void sealed() {
    sealed_before_us_ = sealed_at_us_;
    sealed_at_us_ = clock_.now_us;
  }
  /// It tells a publisher that these places are confirmed.
  void says_confirmed(const v1::Confirmed& confirmed);
  /// A part of its HELLO: what it has settled, and has not heard confirmed.
  void names_settled(WorkerId worker, const v1::Hello& part);
  /// WELCOME grants claims that an earlier incarnation's leases stand behind.
  void claims_granted(WorkerId worker);
  /// All of `batch` is on disk, and to be read there.
  void durable(const core::Batch& batch, core::Snapshot& disk);

  // The data folder is wiped, or an older copy of it put back (past.cpp).
  class Disk;
  /// What is on disk now.
  [[nodiscard]] std::shared_ptr<const Disk> disk() const;
  /// From now on that is on disk, or nothing. What was confirmed since may be lost: that is the operator's doing.
  void put_back(const Disk* then);
  /// It has read the HELLO of a worker that speaks of a store that was wiped, or of commits that the copy does not
  /// have: nothing that it was granted before is its own.
  void speaks_of_another_store(WorkerId worker);

  // What operators do.
  [[nodiscard]] std::vector<Place> dead_letters(std::size_t queue) const;
  void asked_for_replay(const Place& place) { replays_.insert(place); }
  void asked_for_purge(const Place& place) { purges_.insert(place); }

  /// When the last is due of those that wait for a wall time.
  [[nodiscard]] std::int64_t last_wall_due_us() const { return last_wall_due_us_; }
  /// What the wall clock was ahead when this broker started.
  [[nodiscard]] std::int64_t started_ahead_us() const { return started_wall_us_ - started_at_us_; }

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
    bool given_up = false;  ///< it runs on, and a HELLO of its session did not claim it: an end came between
    bool settled = false;
    bool applied = false;    ///< its outcome is on disk, or leaves nothing to write
    bool forgotten = false;  ///< its grant is
    Outcome outcome{};
    std::int64_t settled_at_us{};
    std::optional<Duration> asked;
    std::vector<Uid> outputs;
    MessageName name;  ///< as its handler was told
  };
  /// What an output's name is derived from.
  struct Origin {
    MessageName source;
    QueueId queue{};
    Lane lane{};
    std::uint32_t ordinal{};
    friend constexpr auto operator<=>(const Origin&, const Origin&) = default;
  };
  /// An entry of a history.
  struct Failure {
    std::uint32_t number{};
    std::string error;  ///< as it was first read
  };
  struct Message {
    QueueId queue{};
    Lane lane{};
    std::uint16_t type{};
    std::int64_t delay_us{};
    std::int64_t deliver_at_us{};  ///< by the wall clock, or 0
    std::size_t bytes{};           ///< of its encoded Body
    bool offered = false;
    bool uncredited = false;  ///< need not fit into its queue's room: an output, replayed, or sent again
    std::int64_t offered_at_us{};
    std::uint32_t publisher{};  ///< counted from 1
    std::uint64_t offer{};      ///< counts over all publishers
    std::uint32_t stored_in{};  ///< incarnation
    HoldingId source{};         ///< an output: whose ack it leaves with
    std::uint32_t ordinal{};    ///< an output: how many of that ack went to the same lane before it
    MessageName name;           ///< published: number 0 until the broker has read it
    Where where = Where::nowhere;
    bool ahead = false;         ///< delivered at `place`, and not on disk
    std::uint32_t elided_in{};  ///< incarnation in which it was acked and confirmed without being written
    Told told = Told::nothing;
    std::int64_t told_at_us{};
    std::int64_t left_at_us = -1;  ///< when it was last known to be gone from its queue, or dead
    Place place;
    std::uint32_t attempts{};  ///< that count, on disk
    std::int64_t due_us{};
    bool by_wall = false;  ///< by the wall clock, not by the broker's
    std::int64_t dead_since_us{};
    v1::Suspicion suspicion{};
    bool blamed = false;
    bool lost = false;       ///< it was on disk, or need not be, in a store that is no more
    std::uint32_t killed{};  ///< processes, unsettled, since all is well and it was last unsuspected, or replayed
    std::uint64_t applied_grant{};  ///< under which the last outcome was applied
    std::vector<Grant> grants;      ///< the last of each worker
    std::vector<HoldingId> holdings;
    std::vector<Failure> history;
  };
  struct ProcessState {
    bool alive = true;
    bool told = false;           ///< somebody will say how it ended
    bool explained = false;      ///< on purpose, or with a culprit
    bool of_two_stores = false;  ///< nobody judges how it ended
    std::set<Uid> started{};     ///< that had, when it ended
    std::set<Place> settled{};   ///< that it said it had settled, begun or not
    std::size_t cleared{};       ///< suspects that it has settled
    std::int64_t heard_at_us{};
    std::int64_t expired_at_us = -1;  ///< when its time was last out
    Uid died_of{};                    ///< the message that ended it; 0: none, or it lives
  };
  struct WorkerState {
    ProcessId process{};
    std::uint32_t shard{};
    ProcessToken token;
    std::map<QueueId, std::vector<std::string>> attach{};  ///< the types that it knows there; none: all
    std::int64_t attached_at_us{}, hello_at_us{};
    bool surely_attached = false;  ///< no end of its session is on disk
    bool maybe_attached = false;   ///< nor is it sure that there was one since its last HELLO
  };
  /// How long anybody was attached to a queue, and somebody may have been.
  struct Crowd {
    std::size_t workers{};
    std::int64_t attended_us{}, since_us{};
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
  /// Granted between the making of a copy and its return. A worker that has heard of no commit since may still be
  /// granted what it claims, since the copy has the message: or not, if it was told of by a later start.
  [[nodiscard]] bool is_of_what_is_no_more(std::uint64_t grant) const;
  /// What a worker was granted until a grant is nothing in this store.
  void forget(WorkerId worker, std::uint64_t until);
  Uid placed_ahead(const core::Piece& piece, std::uint32_t offset);
  /// True if it was acked and that ack leaves nothing to write, or what it left with is on disk or elided too.
  bool elide(Uid uid);
  void forget_what_ran_ahead();
  /// It is published again after a broker died that had confirmed its ack, and was not heard.
  void begin_again(Message& message);
  /// Its queue may have been full, or its dead letters, at some time since it was published.
  void check_may_be_refused(Uid uid) const;
  void check_nobody_else(Uid uid, WorkerId worker, const char* what);
  void offer(Message& message);
  /// It is the one by which this message was published; of an output, the one that its source's had before.
  void check_name(Uid uid, const MessageName& name);
  // Suspects (suspicion.cpp).
  /// A suspect in somebody's hands.
  struct Trial {
    Uid uid{};
    WorkerId worker{};
    std::uint64_t grant{};
    std::int64_t at_us{};
    v1::Suspicion suspicion{};
  };
  [[nodiscard]] bool is_going(const Trial& trial);
  void check_suspected(Uid uid);
  void check_trial(Uid uid, WorkerId worker);
  void begin_trial(Uid uid, WorkerId worker);
  void trial_over(HoldingId holding);
  // Who is attached (attached.cpp).
  [[nodiscard]] bool knows(const WorkerState& worker, QueueId queue, std::size_t type) const;
  [[nodiscard]] std::int64_t attended_us(QueueId queue) const;
  void known_until(const WorkerState& worker, std::int64_t at_us);
  void detached(WorkerState& worker);
  void nobody_attached();
  /// It is a dead letter because nobody knows its type.
  void check_buried(Uid uid) const;
  void check_ends_are_committed(const Message& message, WorkerId worker) const;
  /// Within a lane a worker is sent what it was not sent before in the order in which it was published.
  void check_order(Uid uid, WorkerId worker);
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
  void check_charged(Uid uid);
  void check_killer(Uid uid) const;
  void check_moved_by_a_death(Uid uid, const core::MoveMessage& write, std::int64_t early_us);
  /// The least that the policy makes a message wait after so many attempts that failed.
  [[nodiscard]] std::int64_t backoff_us(const Message& message, std::uint32_t attempts) const;
  /// By the broker's clock it can have heard of what happened then only after that, and after this start.
  [[nodiscard]] std::int64_t told_us(std::int64_t at_us) const { return broker_us(std::max(at_us, started_at_us_)); }
  /// It is to be delivered like any other: then the time that it names had come by the wall clock.
  void check_its_time_had_come(Uid uid) const;
  [[noreturn]] void throw_early(Uid uid, std::int64_t early_us) const;
  void store(Uid uid, const Place& place, Where where, Lane lane, std::string_view type, std::string_view key);
  void acked(Uid uid);
  void check_outputs();
  /// What the batch has moved has the history that it should.
  void check_histories(core::Snapshot& disk);
  void one_dead_less(QueueId queue);
  /// It is in its queue from now on, or no more.
  void entered(const Message& message);
  void left(Message& message);
  /// What was published and is stored with this batch was taken while there was room.
  void check_room();

  const Scenario& scenario_;
  const Clock& clock_;
  CoverageTable& coverage_;
  std::vector<Message> messages_;
  std::vector<Holding> holdings_;
  std::vector<ProcessState> processes_;
  std::vector<WorkerState> workers_;
  std::map<QueueId, Crowd> crowds_;                                          ///< in this incarnation
  std::map<std::pair<QueueId, std::size_t>, std::int64_t> unknown_from_us_;  ///< of a type, in its crowd's time
  std::int64_t sealed_before_us_ = 0, sealed_at_us_ = 0;                     ///< the last seal but one, and the last
  std::map<Place, Uid> places_;
  std::map<Origin, MessageName> output_names_;
  std::map<MessageName, Origin> named_;                    ///< of what was published the source is itself
  std::map<core::SegmentKey, std::vector<Uid>> segments_;  ///< on disk
  std::map<QueueId, Totals> totals_;
  using Session = std::pair<ProcessToken, std::uint32_t>;
  std::map<Session, std::int64_t> noted_;           ///< sessions, on disk, and since when
  std::map<Session, std::int64_t> noted_at_start_;  ///< of this incarnation
  std::vector<Trial> trials_;                       ///< those that have begun in this incarnation
  std::set<Place> replays_, purges_;
  std::map<QueueId, std::int64_t> paused_until_us_;
  std::int64_t started_at_us_ = 0;  ///< this incarnation, and what the wall clock said then: by that delays are due
  std::int64_t started_wall_us_ = 0;
  std::int64_t last_wall_due_us_ = 0;
  std::uint32_t incarnation_ = 0;         ///< counts starts: two stores may repeat what they say themselves
  std::uint32_t stored_incarnation_ = 0;  ///< as the store says it
  std::uint64_t grants_ = 0;
  std::uint64_t grants_before_ = 0;                                     ///< of stores that are no more
  std::vector<std::pair<std::uint64_t, std::uint64_t>> granted_since_;  ///< copies were made, until they were put back
  std::uint64_t offers_ = 0;
  struct Stream {
    WorkerId worker{};
    QueueId queue{};
    Lane lane{};
    std::uint32_t publisher{};
    friend constexpr auto operator<=>(const Stream&, const Stream&) = default;
  };
  std::map<Stream, Uid> last_of_;  ///< that was granted first in this incarnation
  std::size_t unfinished_ = 0;     ///< stored and not ended
  std::vector<Uid> batch_stored_;  ///< outputs of the batch that is being applied
  std::vector<HoldingId> batch_acks_;
  std::vector<Uid> batch_moved_;
  std::vector<Uid> batch_charged_;     ///< for a death that did not name them
  std::set<QueueId> batch_published_;  ///< queues of which it stores what was published
  struct Dead {
    std::uint64_t now{}, least{};  ///< on disk; and the fewest while this batch was gathered
  };
  std::map<QueueId, Dead> dead_;
  struct Live {
    Load all;                    ///< on disk
    Messages credited;           ///< of these, those that had to fit
    Load brought_by_no_publish;  ///< with this batch
  };
  std::map<QueueId, Live> live_;
};

}  // namespace weir::simulation
