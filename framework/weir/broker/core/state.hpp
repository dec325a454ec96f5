#pragma once

/// The core's state, and the functions of every concern over it. Each concern is a file; most have a section below.
/// README.md says what each file is for.

#include <memory>
#include <random>
#include <span>
#include <unordered_map>

#include "weir/broker/core/core.hpp"
#include "weir/broker/core/pending.hpp"
#include "weir/broker/core/session.hpp"

namespace weir::broker::core {

/// A suspect that was being tried when its process died. It is charged once its plugin has lived without it.
struct Accused {
  Place place;
  LeaseId lease;     ///< under which it was tried
  Duration trial{};  ///< from its delivery to the death of its process, at most trial_most
  Duration age{};    ///< of its process at that death, at most age_most
  Instant earliest;  ///< it is not charged before this: its process may yet come back
  ProcessToken died_with;
  v1::Attempt attempt;  ///< for its history
};

/// A higher age counts as this one: a plugin that always dies at a certain age is taken to die by then.
inline constexpr Duration age_most = std::chrono::seconds(10);
/// A longer trial counts as this one. A handler may have waited for hours, or the machine slept: no process stands by,
/// and no suspect waits, for that long.
inline constexpr Duration trial_most = std::chrono::minutes(5);

/// What deaths have shown of a group's plugin.
struct Plugin {
  std::optional<Place> charged;  ///< the suspect that was charged last, and when
  std::optional<Instant> charged_at;
  Duration lived{};        ///< since the last charge: how long a control has lived without suspects
  Duration lived_until{};  ///< the age that the control reached then, at most age_most
  std::vector<Accused> accused;
  Duration longest{};                   ///< the longest trial of an accused
  Duration oldest{};                    ///< the highest age of a process that one of them died with
  std::optional<ProcessToken> control;  ///< the process that must live without suspects; it is sent nothing
  std::optional<Instant> empty_since;   ///< since when the control has held nothing
  Duration dies_within{};               ///< the highest age at which a control died, within the last hour
  Instant died_at;
  Duration rest{};  ///< how long suspects wait after a control died
  Instant rests_until;
};

class State {
 public:
  State(Config the_config, Store& the_store) : config(std::move(the_config)), store(the_store), random(config.seed) {}

  Config config;
  Store& store;
  StoreId store_id;
  std::uint64_t commits{};  ///< of the store, on disk
  std::vector<Recovered::Start> starts;
  Instant called_at;  ///< when the current call began
  Effort effort;      ///< what is left of the current call's effort
  std::uint32_t incarnation{};
  std::uint64_t next_lease = 1;
  std::minstd_rand random;

  TypeSets type_sets;
  std::map<QueueId, std::unique_ptr<Queue>> queues;
  std::map<std::string, Queue*, std::less<>> queues_by_name;
  std::unordered_map<Connection, std::unique_ptr<Client>> clients;
  std::map<ProcessToken, Process> processes;
  std::map<std::uint64_t, Worker*> workers_by_number;  ///< all workers, in the order in which they came
  std::uint64_t workers_counted{};
  std::map<PublisherId, Publisher> publishers;

  /// Queues that have something to deliver, and perhaps a few more. When a window is freed or shared, only these are
  /// looked at.
  std::map<QueueId, Queue*> waiting;
  std::vector<Worker*> outboxes;    ///< workers whose outbox is not empty, while queues are dispatched
  std::vector<std::uint64_t> held;  ///< for level_of alone: messages held, per worker with room
  Bytes unread;                     ///< bytes that all workers together were sent and have not read
  std::set<Worker*> choked;         ///< workers that are sent no more until they have read enough

  std::deque<std::unique_ptr<Work>> work;  ///< work that belongs to no client
  std::deque<Connection> busy;             ///< clients with work, in turn
  std::map<QueueId, Queue*> unserved;      ///< queues that still had messages to deliver when the effort was spent
  std::size_t waiting_bytes{};             ///< of frames that wait behind an earlier frame of their client
  std::size_t hello_bytes{};               ///< of HELLOs that are not complete

  Pending gathering;
  Pending sealed;
  std::vector<Answer> elided;  ///< answers to send now: their messages were acked before they were written
  bool committing = false;
  std::uint64_t batches = 0;

  bool runs_ahead = false;             ///< some queue allows delivery ahead
  bool room = true;                    ///< the store has room above its reserve
  std::uint64_t window_epochs{};       ///< rises over restarts too: its upper half is the incarnation
  std::size_t windows_open{};          ///< of publishers, in all queues
  std::map<QueueId, Queue*> unshared;  ///< queues whose room is to be shared, but not before `share_next`
  Instant share_next = Instant::max();
  std::size_t ends_kept{};  ///< segments whose `ends` are in memory
  std::size_t scheduled{};  ///< records that wait in memory until they are due, in all queues

  // After a restart.
  std::size_t recovering{};  ///< noted sessions that are not back yet
  bool recovered = true;
  Instant started;
  std::int64_t started_us{};  ///< by the wall clock
  struct Deferred {
    ProcessToken token;
    std::uint32_t shard{};
    Connection connection{};
    std::uint64_t frame{};
    v1::Settle::Run run;
  };
  std::vector<Deferred> deferred;

  /// Suspects of a process that was lost. They are cleared if it comes back.
  struct Lost {
    Instant at;
    std::set<Place> suspects;
  };
  std::map<ProcessToken, Lost> lost;
  /// By group. Only in memory (controls.cpp says why).
  std::map<std::string, Plugin> plugins;
  Instant next_control = Instant::max();  ///< when to look at a control, or at the end of a rest
  Instant next_recall = Instant::max();   ///< when to look for idle workers, and for messages that have not started
  Instant next_trial = Instant::max();    ///< when a process may be quiet, or a group need not be awaited any more
  /// Groups that lost one of several processes, and until when it is expected back (suspects.cpp).
  std::map<std::string, Instant> awaited;

  /// Connections that ended since the last tick. The shell may not have closed them yet; frames that it still reads
  /// from them are ignored.
  std::set<Connection> ended;

  std::vector<Connection> to_beat;  ///< connections that this round of beats has not reached yet
  Instant last_turn;
  std::int64_t last_wall_us{};  ///< the wall clock at `last_turn`
  Instant next_beat;
  Instant next_housekeeping;
  /// No record that must be loaded is due before this, in any queue; one time per clock (DueBy).
  std::array<std::int64_t, due_clocks.size()> due_next_us{};
  Instant next_compaction;
  std::uint64_t leases_before{};  ///< leases below this were granted before the last compaction

  [[nodiscard]] Queue* find_queue(QueueId id) {
    const auto at = queues.find(id);
    return at == queues.end() ? nullptr : at->second.get();
  }
  [[nodiscard]] Client* find_client(Connection connection) {
    const auto at = clients.find(connection);
    return at == clients.end() ? nullptr : at->second.get();
  }
  [[nodiscard]] Worker* find_worker(const ProcessToken& token, std::uint32_t shard) {
    const auto process = processes.find(token);
    if (process == processes.end()) return nullptr;
    const auto worker = process->second.workers.find(shard);
    return worker == process->second.workers.end() ? nullptr : worker->second.get();
  }

  /// The broker's clock, by which delays and backoff are due: the wall clock's time at the start, plus the time since.
  /// A step of the wall clock makes no delay longer or shorter, and no dead letter older.
  [[nodiscard]] std::int64_t clock_us(Instant instant) const { return started_us + (instant - started).count(); }
  /// The time that clock `by` shows.
  [[nodiscard]] std::int64_t time_us(Now now, DueBy by) const {
    return by == DueBy::wall ? now.wall.time_since_epoch().count() : clock_us(now.instant);
  }
  /// A record that must be looked up is due at `due_us`.
  void expect_due(std::int64_t due_us, DueBy by) {
    std::int64_t& next = due_next_us[static_cast<std::size_t>(by)];
    next = std::min(next, due_us);
  }

  /// Uniform in [0, 1).
  [[nodiscard]] double uniform() {
    return static_cast<double>(random() - std::minstd_rand::min()) /
           (static_cast<double>(std::minstd_rand::max() - std::minstd_rand::min()) + 1.0);
  }

  /// The queue may have something to deliver: workers with room ask it.
  void wake(Queue& queue) { waiting.emplace(queue.id, &queue); }
  void changed(Queue& queue) {
    if (std::exchange(queue.changed_in, batches + 1) != batches + 1) gathering.queues.insert(queue.id);
  }
  void changed(const SegmentKey& key) { gathering.settled.insert(key); }
};

/// One call of the core: the state, the time, and the actions for the shell.
struct Turn {
  State& state;
  Now now;
  Actions& actions;
};

/// Sends a frame to a client: numbered, and with the count of commits if it bears one. Does nothing if it is gone.
void send(State& state, Connection to, v1::Frame frame, Actions& actions);
void note(Actions& actions, Note::Level level, std::string event,
          std::vector<std::pair<std::string, std::string>> fields);

// sessions.cpp
void on_frame(Turn& turn, Connection from, const v1::Frame& head, const Slice& run);
/// Checks the number of a frame, and handles it. The client must not be busy.
void handle_frame(Turn& turn, Client& client, const v1::Frame& head, const Slice& run);
/// Answers with an error, and ends the connection.
void refuse(Turn& turn, Connection to, v1::Error::Code code, std::string message);
/// Answers with an error; a fatal one ends the connection.
void refuse(State& state, Connection to, v1::Error::Code code, std::string message, bool fatal, Actions& actions);
void on_disconnected(Turn& turn, Connection from);
/// Notes that the process lives; nullptr if no process has this token.
Process* vouch(State& state, Now now, const ProcessToken& token);
/// Ends a session. What it held returns once the end is on disk.
void end_worker(State& state, Process& process, Worker& worker, const std::string& why, Actions& actions);
/// A queue without workers keeps everything: the grace of unknown types begins anew with its next worker.
void forget_unknown_types(State& state);
void sessions_tick(Turn& turn);

/// Numbers a new worker. Call it once the worker is in its process.
void number_worker(State& state, Worker& worker);
/// For notes: group/host/pid/shard.
[[nodiscard]] std::string print_worker(const Worker& worker);

// working.cpp
/// Keeps the rest of the client's frame. It is done in later turns, before any other frame of the client.
void begin_work(State& state, Client& client, std::unique_ptr<Work> work);
/// Keeps a frame of a busy client until its turn. Ends the session if too many bytes wait.
void wait_for_work(State& state, Client& client, const v1::Frame& head, const Slice& run, Actions& actions);
[[nodiscard]] bool has_work(const State& state);
void go_on(Turn& turn);

// death.cpp
/// A message that pays for a death.
struct Charge {
  SegmentKey key;
  std::uint32_t index{};
  Source source{};
  Bytes bytes;
  std::uint32_t number{};  ///< of the attempt
  LeaseId lease;           ///< under which the message was held
  v1::Suspicion suspicion = v1::UNSUSPECTED;
};
/// Counts one attempt: due again after the backoff, or a dead letter. A suspect stays one until it settles.
void charge(Turn& turn, const Charge& charge, v1::Attempt attempt);
/// A process died, as `client` reports. Its culprits are charged; if the cause is unknown, all that had begun is
/// suspect. Everything else returns.
void on_death(Turn& turn, const Client& client, const v1::DeathReport& death);
/// A process was not heard of for `session_timeout`: its sessions end, and all that it held is suspect.
void on_lost(Turn& turn, const ProcessToken& token, Process& process, const std::string& why);
/// A process that was lost is back: its messages did not end it.
void on_found(Turn& turn, const ProcessToken& token);

// judging.cpp
/// What is known of a process's end.
struct Finding {
  std::string why;
  const v1::DeathReport* report{};  ///< nullptr: there is no report, and any message that it held may be the cause
  Connection reporter{};            ///< the client that is answered once all is judged, and on disk
  bool blind = false;               ///< nothing that it held is looked at
  bool known = false;               ///< the cause is known: no message becomes suspect, the report's culprits pay
};
/// Ends the sessions of a process that was taken out of the state. What they held is charged, is suspect, or returns:
/// now and in later turns.
void judge_death(Turn& turn, const ProcessToken& token, Process& process, Finding finding);

// late.cpp
/// Judges the suspects of a lost process: those in `still_suspect` get that suspicion, the others are cleared.
void judge_lost(Turn& turn, const std::set<Place>& suspects, const std::map<Place, v1::Suspicion>& still_suspect);
/// A lost process is dead, and its parent reports what it had begun. (The process was frozen, and was killed for that.)
/// Only what had begun is still suspect. False if no process of this token was lost.
bool on_late_death(Turn& turn, const ProcessToken& token, const v1::DeathReport& death);

// suspects.cpp
/// Hands over one suspect, if this worker may try one; false if it gets none.
bool hand_suspect(Turn& turn, Queue& queue, Worker& worker, Attached& attached);
/// False if the process is kept for a suspect, and is sent nothing else.
[[nodiscard]] bool takes_others(State& state, Now now, Process& process);
/// Notes the trial, if the message that the worker now holds is a suspect.
void on_trial(Now now, Worker& worker, std::uint64_t lease, const RecordHead& head);
/// True if the process holds suspects.
[[nodiscard]] bool tries_any(Process& process);
[[nodiscard]] Messages held_by(const Process& process);

// controls.cpp
/// True if this suspect may be charged without a further control; it then counts as charged.
[[nodiscard]] bool may_charge(State& state, Now now, const std::string& group, const Accused& accused,
                              bool last_attempt);
/// Accuses a suspect: it is charged if the plugin lives without it.
void accuse(State& state, Now now, const std::string& group, Accused accused);
/// Acquits the suspects that are accused of the end of this process: it is not dead.
void acquit(State& state, const ProcessToken& died_with);
/// False while the group's suspects wait.
[[nodiscard]] bool tries_suspects(const State& state, Now now, const std::string& group);
/// True if the worker's process is sent nothing: it is a control, or may be chosen as one.
[[nodiscard]] bool stands_by(const State& state, const Worker& worker);
/// A process died of an unknown cause. True if it was a control, and its death is the plugin's.
bool control_died(Turn& turn, const ProcessToken& token, const std::string& why, const std::string& stack);
void controls_tick(Turn& turn);
/// A process of the group, which served the queue, has died, and was taken out of the state. If the group has others
/// there, it is expected back.
void await_another(State& state, Now now, const Queue& queue, const std::string& group);
/// Tries suspects alone in processes that have been quiet for long enough, and suspects that need not wait any more.
void trials_tick(Turn& turn);

// hello.cpp
void on_hello(Turn& turn, Client& client, const v1::Hello& part);
/// Begins the worker's session. The leases that it named have been gone through; `frame` has the answers.
void welcome_worker(Turn& turn, Client& client, Worker& worker, v1::Frame frame);
/// Ends clients that left in the middle of a HELLO: they are sent no BEAT, whose failure would find them gone.
void hellos_tick(Turn& turn);
/// The window that a worker gets of the one that it wants; writes a note if that is less.
[[nodiscard]] Load cut_window(const State& state, const Worker& worker, const v1::Window& wanted, Actions& actions);

// identity.cpp
/// Whether the claims and unanswered publishes of a HELLO belong to this store, or to one that had other commits.
enum class SpeaksOf : std::uint8_t { this_store, another_store, later_store };
[[nodiscard]] SpeaksOf speaks_of(const State& state, const v1::Hello& hello, bool claims_something);
/// Writes a note, once per client (`told`), if it speaks of another store.
void tell_of_store(const State& state, const v1::Hello& hello, SpeaksOf what, const std::string& client, bool& told,
                   Actions& actions);

// naming.cpp
/// A HELLO of a worker. `parts` are its further parts, encoded.
struct Named {
  v1::Hello first;
  std::vector<std::string> parts;
  SpeaksOf speaks_of{};  ///< if not this store, all that it names is stale
};
/// The leases that the HELLO names stay the worker's, its others return. Then the worker is welcomed.
void name_leases(Turn& turn, Client& client, Worker& worker, Named named);

// publishing.cpp
void on_publish(Turn& turn, Client& client, const v1::Publish& publish, const Slice& run);
/// Neighbouring messages on their way into a lane, checked.
struct Incoming {
  Lane lane{};
  const v1::Index& index;
  std::span<const NameRun> names;  ///< of all of them
  const Slice& run;
};
struct TakenGroup {
  Place place;             ///< of the first message
  OpenSegment* segment{};  ///< that they are in; nullptr if one of them has a delay
};
/// Takes them into the gathering commit. If they have no delay they may be delivered ahead of the commit, once the
/// queue is dispatched.
TakenGroup take_group(State& state, Now now, Queue& queue, const Incoming& group);
/// Why the queue does not take publishes now; empty if it does.
[[nodiscard]] std::string why_not(const State& state, const Queue& queue, std::uint64_t messages, std::uint64_t bytes);

// windows.cpp
void open_window(State& state, Queue& queue, Publisher& publisher);
void close_window(State& state, Queue& queue, const PublisherId& publisher);
void fill_window(const Queue& queue, const PublisherId& publisher, v1::Window& out);
/// The publisher has seen `epoch`.
void window_seen(State& state, Queue& queue, Publisher& publisher, std::uint64_t epoch, Actions& actions);
/// Frees `answered` of a publisher's window. Call it before the answer is sent.
void free_window(State& state, Queue& queue, const PublisherId& publisher, Load answered, Actions& actions);
/// Gives a queue's room to its publishers, or takes it back: now, or soon if there are many and it was shared just now.
void share_room(State& state, Queue& queue, Actions& actions);
/// Shares what share_room put off.
void sharing_tick(State& state, Actions& actions);
/// Once per second: room that is not used goes to publishers that have none.
void windows_tick(State& state, Queue& queue, Actions& actions);

// delivering.cpp
/// Delivers what is ready. Messages of several queues that one call gives a worker leave in one frame.
void dispatch(Turn& turn, Queue& queue);
void dispatch(Turn& turn, const QueueSet& queues);
/// All queues of the worker.
void dispatch_for(Turn& turn, Worker& worker);
/// The worker's queues that wait, if it took nothing of one of them before.
void dispatch_waiting(Turn& turn, Worker& worker);
void dispatch_all(Turn& turn);
/// Messages [first, first + count) of a segment are ready (again).
void make_ready(State& state, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t count);
/// Loads a segment's ends (and types), if they are not in memory (columns.cpp). False if they are damaged: what was
/// ready in the segment is set aside, and its ends are a guess.
bool load(State& state, const SegmentKey& key, Segment& segment);
/// The same for its names: only messages with outputs need them.
[[nodiscard]] bool load_names(State& state, const SegmentKey& key, Segment& segment);
[[nodiscard]] bool knows(const Attached& attached, const std::string& type);
/// Hands over one record.
void hand(Turn& turn, Worker& worker, Attached& attached, RecordHead head);
/// Makes the record of a run ready again.
void record_ready(State& state, Queue& queue, LeaseRun& run);
/// Makes what is still open of a run ready again; its attempt does not count.
void give_back(State& state, Queue& queue, LeaseRun& run);
[[nodiscard]] Attached::Match match(State& state, Attached& attached, TypeSet types);

// bursts.cpp
inline constexpr std::uint64_t no_level = ~std::uint64_t{0};
/// What each session with room may hold, so that all ready messages are shared evenly; no_level if they need not be.
[[nodiscard]] std::uint64_t level_of(State& state, const Queue& queue);

// recalls.cpp
/// Sets the time at which recalls_tick looks: something was handed out.
void look_for_recalls(State& state, Now now);
void recalls_tick(Turn& turn);

// sharing.cpp
/// True if something of the queue may be delivered to a worker that knows its type.
[[nodiscard]] bool has_ready(const State& state, const Queue& queue);
/// The worker's queue with the lowest id above `after` that is waiting; nullptr if none is.
[[nodiscard]] Queue* next_waiting(State& state, Worker& worker, QueueId after);
/// Counts the worker's queues that are waiting and not paused. It looks at all of them.
void count_sharers(State& state, Worker& worker);
/// The most of a queue that the worker may have while another of its queues waits.
[[nodiscard]] std::uint64_t share_of(const Worker& worker);
/// What this worker may still take of this queue: at most its share, or a lot, while another of its queues waits.
[[nodiscard]] std::uint64_t credit(State& state, Now now, Worker& worker, const Attached& attached);

// reading.cpp
/// False if the worker has so much unread that it is sent no more now.
[[nodiscard]] bool reads(State& state, Worker& worker);
void on_read(Turn& turn, Connection by, Bytes bytes);
/// Forgets what the worker had unread: its connection is gone.
void forget_unread(State& state, Worker& worker);

// ahead.cpp
/// Puts a segment into its lane, ready. It is on disk, or `ahead` of that.
void appear(State& state, Queue& queue, const SegmentKey& key, OpenSegment& open, bool ahead);
/// True if the queue has segments that are not on disk and may be delivered all the same.
[[nodiscard]] bool has_ahead(const State& state, const Queue& queue);
/// Makes these segments appear in their lanes; false if there are none.
bool run_ahead(State& state, Queue& queue);
/// All messages of a segment that is not on disk are settled. If nothing of it must be written, it never is, and its
/// publishers are told (tell_elided).
void settled_ahead(State& state, Queue& queue, const SegmentKey& key);
/// Notes that this commit reads messages of the segment from the store.
void needs_segment(State& state, const SegmentKey& key);
/// Notes that acks of this segment leave with outputs, so that its publishes are confirmed with these.
void bears_outputs(State& state, const SegmentKey& key);
void tell_elided(State& state, Actions& actions);

// holding.cpp
/// True if the queue's messages end so soon after their delivery that a commit waits for them.
[[nodiscard]] bool is_quick(const Queue& queue);
/// The most that all workers of a queue may hold.
[[nodiscard]] std::uint64_t held_most(const Queue& queue);
/// Messages in segments that were confirmed (so they are on disk), and have not ended.
[[nodiscard]] std::uint64_t written(const Queue& queue);
/// When to write what is gathered. Instant::max(): there is nothing; Instant::min(): now.
[[nodiscard]] Instant commit_due(const State& state);
/// Messages of a segment from `first` on are delivered: the first may be watched.
void watch(Now now, Queue& queue, const SegmentKey& key, std::uint32_t first);
/// Messages [first, last) of a segment have ended.
void watched_ended(Now now, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t last);
/// A lease of the segment has ended, and its messages have not: one of them that is watched is watched no more.
void watched_returns(Queue& queue, const SegmentKey& key);
/// A batch is sealed. A queue was slow if its watched message takes too long, or if none of its messages is taken.
void judge_watched(State& state, Now now);

// settling.cpp
void on_settle(Turn& turn, Client& client, std::uint64_t frame, const v1::Settle& settle, const Slice& run);
/// All sessions are back: applies the outcomes that waited for that.
void settle_deferred(State& state, Now now);
void answer(v1::Settled& settled, std::uint64_t lease, std::uint64_t count, v1::Settled::Answer what,
            const std::string& reason = {});

// applying.cpp
/// The record that a message becomes which failed, was put off, or is suspect.
[[nodiscard]] RecordHead head_of(State& state, const LeaseRun& run, std::uint32_t offset, std::uint32_t attempts,
                                 std::int64_t due_us, LeaseId lease);
/// Bytes of messages [first, last) of a run (counted within the run).
[[nodiscard]] std::uint64_t bytes_of(State& state, const LeaseRun& run, std::uint32_t first, std::uint32_t last);
/// Messages [first, last) of a run (counted within the run), all of them open.
struct OpenPart {
  std::uint64_t lease{};  ///< the run's first
  LeaseRun& run;
  std::uint32_t first{};
  std::uint32_t last{};
};
/// Applies an outcome to these messages.
void apply(State& state, Now now, Worker& worker, const OpenPart& part, const v1::Settle::Run& outcome);

// outputs.cpp
/// The run that holds `lease`, if its message is still open.
[[nodiscard]] LeaseRun* find_open(Worker& worker, std::uint64_t lease, std::uint32_t& offset);
/// The lease of an output that the frame does not ack, if any: the output would leave without its ack, or be dropped.
[[nodiscard]] std::optional<std::uint64_t> output_without_ack(const v1::Settle& settle);
/// Takes those outputs of a settle frame whose leases are open. Returns the leases whose outputs cannot be taken: they
/// are answered, and keep their deliveries.
std::set<std::uint64_t> take_outputs(State& state, Now now, Worker& worker, const v1::Settle& settle, const Slice& run,
                                     v1::Settled& settled);

// history.cpp
/// Cuts what is kept of an attempt to a size that a history can bear.
void bound(v1::Attempt& attempt);

// records.cpp
/// True if some record may be due, and is not leased.
[[nodiscard]] bool has_due(const State& state, Now now, const Queue& queue);
/// Takes records that are due into memory, as many as may be needed.
void load_due(State& state, Now now, Queue& queue);
/// True if a record that is due then need not be looked up in the store: it is due soon, and not too many wait.
[[nodiscard]] bool may_wait_in_memory(const State& state, Now now, const Queue& queue, std::int64_t due_us, DueBy by);
/// Keeps a record that is on disk now in memory until it is due; it stays loaded. False if it may not wait there.
bool schedule(State& state, Now now, Queue& queue, RecordHead& head);
/// Moves one message of the queue, which is taken, from its source to a record due at `at_us`, or to the dead letters.
Pending::Moved& move_message(State& state, Queue& queue, MoveMessage move);
/// These messages of the segment are settled: their bits are set, and the segment is dropped with the last one.
void settle_bits(State& state, Queue& queue, const SegmentKey& key, Segment& segment, MessageRange messages);
void records_tick(Turn& turn);

// clocks.cpp
/// Notices that the wall clock was put forward or back since the last turn.
void wall_tick(Turn& turn);

// damaged.cpp
/// Sets aside what is ready of a damaged segment. (Messages that a session holds may yet be acked.)
void set_aside(State& state, const SegmentKey& key, Segment& segment);
/// Sets aside messages [first, last) of a damaged segment: they were ready, or a session held them.
void set_aside(Queue& queue, Segment& segment, std::uint32_t first, std::uint32_t last);
/// Sets aside a record that memory does not know.
void set_aside(Queue& queue, const Place& place);
/// A dead letter is damaged: it stays one, and is named.
void found_damaged(Queue& queue, const Place& dead);
/// Pieces could not be sent to that connection: they are not in the store as they were written.
void on_undelivered(Turn& turn, Connection to, const std::vector<Piece>& pieces);
/// Messages that the sealed batch was to move are damaged, and did not move. Call it before on_committed().
void on_damaged(State& state, const std::vector<Damage>& all);
/// Writes one line per queue and second, however many values are damaged.
void tell_damaged(Queue& queue, Actions& actions);

// compacting.cpp
void compaction_tick(State& state, Now now);
/// False while the record is still being written.
[[nodiscard]] bool is_on_disk(const State& state, const RecordHead& record);

// recovery.cpp
void recover(State& state, Now now, Recovered recovered);
/// Answers a claim of a HELLO, run by run.
void claim(Turn& turn, Worker& worker, const v1::Claim& claim, bool settled, v1::Welcome& welcome);
/// A noted session is back.
void one_recovered(Turn& turn, Worker& worker);
/// Once all noted sessions are back, or their time is out: delivers what waited for their claims.
void recovery_tick(Turn& turn);

// committing.cpp
[[nodiscard]] Batch seal(State& state, Now now);
/// `commits`: how many are on disk, this one included; 0 for messages that were not written.
void confirm_publishers(State& state, std::vector<Answer>& answers, std::uint64_t commits, QueueSet& touched,
                        Actions& actions);
void on_committed(Turn& turn);

// looking.cpp
/// Fill one page each; `wanted` says from where on. The cost of a page is bounded.
void describe_queues(State& state, const v1::ListQueues& wanted, v1::Queues& page);
void describe_workers(State& state, Now now, const v1::ListWorkers& wanted, v1::Workers& page);

[[nodiscard]] inline std::int64_t micros(WallTime wall) { return wall.time_since_epoch().count(); }

}  // namespace weir::broker::core
