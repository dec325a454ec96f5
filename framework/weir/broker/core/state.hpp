#pragma once

/// The core's state, and what every concern needs of it. Each concern is a file of functions over it:
///
///   sessions    frame counting, who may send what, beats, keep-alives, ends
///   death       what a dead process held
///   suspects    who may have killed a process is tried
///   controls    whether it dies without them
///   hello       a client becomes a worker or a publisher
///   identity    whether a HELLO speaks of this store
///   naming      the leases that a HELLO names
///   publishing  groups taken, publisher marks, publisher windows
///   delivering  what is ready goes to who has credit
///   bursts      what is published together is for all who have room
///   recalls     what has not started is asked back for who idles
///   sharing     how a worker's queues share its window
///   reading     who does not read is sent no more
///   ahead       what is not on disk yet goes to who has credit
///   holding     how long a commit waits for work that makes it needless
///   settling    outcomes
///   outputs     what handlers published, with their acks
///   names       a segment's names, and those of outputs
///   applying    what an outcome makes of messages
///   history     what an attempt leaves
///   clocks      the wall clock is put forward or back
///   records     due times, dead letters, messages of unknown type
///   damaged     what the store does not have as it was written
///   compacting  the last messages of a segment become records, and it goes
///   recovery    what a restart found, claims
///   working     what is too much for one turn goes on in later ones
///   committing  what is written, and what is said once it is
///   looking     queues and workers, for people

#include <memory>
#include <random>
#include <span>
#include <unordered_map>

#include "weir/broker/core/core.hpp"
#include "weir/broker/core/pending.hpp"
#include "weir/broker/core/session.hpp"

namespace weir::broker::core {

/// A suspect that was tried, and its process died: to be charged once its plugin has lived without it.
struct Accused {
  Place place;
  LeaseId lease;     ///< under which it was tried
  Duration trial{};  ///< so long, until its process died
  Duration age{};    ///< that its process had then, at most age_most
  Instant earliest;  ///< not to be charged before: its process may yet come back
  ProcessToken died_with;
  v1::Attempt attempt;  ///< for its history
};

/// A plugin that dies by itself does so while it is young, or says nothing of what was tried.
inline constexpr Duration age_most = std::chrono::seconds(10);

/// What deaths have shown of a group's plugin.
struct Plugin {
  std::optional<Place> charged;  ///< the suspect that was charged last, and when
  std::optional<Instant> charged_at;
  Duration lived{};        ///< since then, without suspects
  Duration lived_until{};  ///< the age of who did so
  std::vector<Accused> accused;
  Duration longest{};                   ///< of their trials
  Duration oldest{};                    ///< of the processes that they died with
  std::optional<ProcessToken> control;  ///< the process that must live so long, and is sent nothing
  std::optional<Instant> empty_since;   ///< it holds nothing
  Duration dies_within{};               ///< the age up to which it died by itself, in the last hour
  Instant died_at;
  Duration rest{};  ///< it died: how long suspects wait
  Instant rests_until;
};

class State {
 public:
  State(Config the_config, Store& the_store) : config(std::move(the_config)), store(the_store), random(config.seed) {}

  Config config;
  Store& store;
  StoreId store_id;
  std::uint64_t commits{};  ///< of the store, that are on disk
  std::vector<Recovered::Start> starts;
  Instant called_at;  ///< when the call that is under way began
  Effort effort;      ///< what is left of it
  std::uint32_t incarnation{};
  std::uint64_t next_lease = 1;
  std::minstd_rand random;

  TypeSets type_sets;
  std::map<QueueId, std::unique_ptr<Queue>> queues;
  std::map<std::string, Queue*, std::less<>> queues_by_name;
  std::unordered_map<Connection, std::unique_ptr<Client>> clients;
  std::map<ProcessToken, Process> processes;
  std::map<std::uint64_t, Worker*> workers_by_number;  ///< all of them, in the order in which they came
  std::uint64_t workers_counted{};
  std::map<PublisherId, Publisher> publishers;

  /// Queues with something for somebody, and perhaps a few more: whose window is freed, or shared, looks at these
  /// alone.
  std::map<QueueId, Queue*> waiting;
  std::vector<Worker*> outboxes;    ///< not empty, while queues are dispatched
  std::vector<std::uint64_t> held;  ///< messages, by worker with room: level_of's own
  Bytes unread;                     ///< by all workers together, of what they were sent
  std::set<Worker*> choked;         ///< were sent nothing more, since they had not read enough

  std::deque<std::unique_ptr<Work>> work;  ///< nobody's in particular
  std::deque<Connection> busy;             ///< clients with work, in turn
  std::map<QueueId, Queue*> unserved;      ///< whose messages were to go out when the effort was spent
  std::size_t waiting_bytes{};             ///< of frames that wait behind one of their client's
  std::size_t hello_bytes{};               ///< of HELLOs that are not complete

  Pending gathering;
  Pending sealed;
  std::vector<Answer> elided;  ///< to be told now: acked before they were written
  bool committing = false;
  std::uint64_t batches = 0;

  bool runs_ahead = false;             ///< some queue allows it
  bool room = true;                    ///< the store has room above its reserve
  std::uint64_t window_epochs{};       ///< grows over restarts too: its upper half is the incarnation
  std::size_t windows_open{};          ///< of publishers, in all queues
  std::map<QueueId, Queue*> unshared;  ///< whose room is to be shared, and not before `share_next`
  Instant share_next = Instant::max();
  std::size_t ends_kept{};  ///< segments whose `ends` are in memory
  std::size_t scheduled{};  ///< records that wait in memory for being due, in all queues

  // After a restart.
  std::size_t recovering{};  ///< noted sessions that are not back
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

  /// What became suspect because nobody heard of its process any more: cleared, should it come back.
  struct Lost {
    Instant at;
    std::set<Place> suspects;
  };
  std::map<ProcessToken, Lost> lost;
  /// By group. In memory alone (controls.cpp says why).
  std::map<std::string, Plugin> plugins;
  Instant next_control = Instant::max();  ///< when a control, or the end of a rest, is to be looked at
  Instant next_recall = Instant::max();  ///< when it is looked at who idles, and who has messages that have not started
  Instant next_trial = Instant::max();   ///< when a process has been quiet for long enough to try a suspect alone
  /// Groups that lost one of several processes: until then it is expected back (suspects.cpp).
  std::map<std::string, Instant> awaited;

  /// Connections ended since the last tick: the shell may not have closed them yet, and what it still reads of them is
  /// not wanted.
  std::set<Connection> ended;

  std::vector<Connection> to_beat;  ///< those of a round of beats that are yet to be sent one
  Instant last_turn;
  std::int64_t last_wall_us{};  ///< what the wall clock showed then
  Instant next_beat;
  Instant next_housekeeping;
  /// No record that must be loaded is due before this, in any queue; a time for each clock (DueBy).
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

  /// The broker's clock, by which delays and backoff are due: the wall clock's time at the start, and what has passed
  /// since. A step of the wall clock makes no delay longer or shorter, and no dead letter older.
  [[nodiscard]] std::int64_t clock_us(Instant instant) const { return started_us + (instant - started).count(); }
  /// What this clock shows.
  [[nodiscard]] std::int64_t time_us(Now now, DueBy by) const {
    return by == DueBy::wall ? now.wall.time_since_epoch().count() : clock_us(now.instant);
  }
  /// A record is due then that must be looked for.
  void expect_due(std::int64_t due_us, DueBy by) {
    std::int64_t& next = due_next_us[static_cast<std::size_t>(by)];
    next = std::min(next, due_us);
  }

  /// Uniform in [0, 1).
  [[nodiscard]] double uniform() {
    return static_cast<double>(random() - std::minstd_rand::min()) /
           (static_cast<double>(std::minstd_rand::max() - std::minstd_rand::min()) + 1.0);
  }

  /// It may have something for somebody: whoever has room asks it.
  void wake(Queue& queue) { waiting.emplace(queue.id, &queue); }
  void changed(Queue& queue) { gathering.queues.insert(queue.id); }
  void changed(const SegmentKey& key) { gathering.settled.insert(key); }
};

/// One call of the core: what is known, when it happens, and what the shell is to do about it.
struct Turn {
  State& state;
  Now now;
  Actions& actions;
};

/// A frame to a client, numbered, with the count of commits where it bears one; nothing if it is gone.
void send(State& state, Connection to, v1::Frame frame, Actions& actions);
void note(Actions& actions, Note::Level level, std::string event,
          std::vector<std::pair<std::string, std::string>> fields);

// sessions.cpp
void on_frame(Turn& turn, Connection from, const v1::Frame& head, const Slice& run);
/// A frame of a client that is free to go on, whatever its number.
void handle_frame(Turn& turn, Client& client, const v1::Frame& head, const Slice& run);
/// Answers with an error, and ends the connection.
void refuse(Turn& turn, Connection to, v1::Error::Code code, std::string message);
/// Answers with an error; a fatal one ends the connection.
void refuse(State& state, Connection to, v1::Error::Code code, std::string message, bool fatal, Actions& actions);
void on_disconnected(Turn& turn, Connection from);
/// The process lives; nothing if there is none of this token.
Process* vouch(State& state, Now now, const ProcessToken& token);
/// The session is over: what it held returns once that is on disk.
void end_worker(State& state, Process& process, Worker& worker, const std::string& why, Actions& actions);
/// A queue without workers keeps everything: with its next one the grace of types that nobody knows begins anew.
void forget_unknown_types(State& state);
void sessions_tick(Turn& turn);

/// A worker that is new: to be called once it is in its process.
void number_worker(State& state, Worker& worker);
/// For notes: group/host/pid/shard.
[[nodiscard]] std::string print_worker(const Worker& worker);

// working.cpp
/// What is left of the client's frame: done by and by, before any other frame of it.
void begin_work(State& state, Client& client, std::unique_ptr<Work> work);
/// The client is busy: the frame waits.
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
  LeaseId lease;           ///< under which it was held
  v1::Suspicion suspicion = v1::UNSUSPECTED;
};
/// One attempt is counted: due again after the backoff, or a dead letter. A suspect stays one until it settles.
void charge(Turn& turn, const Charge& charge, v1::Attempt attempt);
/// A process died, as who saw it says: its culprits are charged, all else that it held returns at once.
void on_death(Turn& turn, const Client& client, const v1::DeathReport& death);
/// Nobody has heard of the process for too long: its sessions end, and all that it held is suspect.
void on_lost(Turn& turn, const ProcessToken& token, Process& process, const std::string& why);
/// A process that was lost is back: it was not its messages.
void on_found(Turn& turn, const ProcessToken& token);

// judging.cpp
/// What is known of a process's end.
struct Finding {
  std::string why;
  const v1::DeathReport* report{};  ///< nullptr: nobody reports, and any of what it held may be the cause
  Connection reporter{};            ///< is answered once all is judged, and on disk
  bool blind = false;               ///< what it held is not looked at
  bool known = false;               ///< its cause is: nobody becomes suspect, the report's culprits pay
};
/// Ends the sessions of a process that was taken out of the state. What they held is charged, suspect, or returns: now,
/// and in later turns.
void judge_death(Turn& turn, const ProcessToken& token, Process& process, Finding finding);

// late.cpp
/// Of what a lost process held, these are still suspect, and so; the others are cleared.
void judge_lost(Turn& turn, const std::set<Place>& suspects, const std::map<Place, v1::Suspicion>& still_suspect);
/// A process that was lost is dead, and its parent says what it had begun (it was frozen, and has been killed for it):
/// only that is suspect. False: no process of this token was lost.
bool on_late_death(Turn& turn, const ProcessToken& token, const v1::DeathReport& death);

// suspects.cpp
/// One suspect, if this worker may try one; false if it is handed none.
bool hand_suspect(Turn& turn, Queue& queue, Worker& worker, Attached& attached);
/// False if the process is kept for a suspect, to be sent nothing else.
[[nodiscard]] bool takes_others(State& state, Now now, Process& process);
/// The worker holds this suspect now.
void on_trial(Now now, Worker& worker, std::uint64_t lease, const RecordHead& head);
/// The process has suspects in its hands.
[[nodiscard]] bool tries_any(Process& process);
[[nodiscard]] Messages held_by(const Process& process);

// controls.cpp
/// True if this suspect may be charged without a control; then it is taken to be charged.
[[nodiscard]] bool may_charge(State& state, Now now, const std::string& group, const Accused& accused,
                              bool last_attempt);
/// It is charged if the plugin lives without it.
void accuse(State& state, Now now, const std::string& group, Accused accused);
/// The process with which some died is not dead.
void acquit(State& state, const ProcessToken& died_with);
/// False while the group's suspects wait.
[[nodiscard]] bool tries_suspects(const State& state, Now now, const std::string& group);
/// The worker's process is sent nothing: it is a control, or may be chosen as one.
[[nodiscard]] bool stands_by(const State& state, const Worker& worker);
/// A process died, and nobody knows of what; true if it was a control.
bool control_died(Turn& turn, const ProcessToken& token, const std::string& why, const std::string& stack);
void controls_tick(Turn& turn);
/// A process of the group has ended, and is not in the state any more: if there were several, it is expected back.
void await_another(State& state, Now now, const std::string& group);
/// Tries suspects alone whose processes have been quiet for long enough, and those that need not wait any more.
void trials_tick(Turn& turn);

// hello.cpp
void on_hello(Turn& turn, Client& client, const v1::Hello& part);
/// The worker's session begins: what it named has been gone through, and is answered in `frame`.
void welcome_worker(Turn& turn, Client& client, Worker& worker, v1::Frame frame);
/// Ends those who left in the midst of one: no BEAT is sent to them that would find them gone.
void hellos_tick(Turn& turn);
/// The window that a worker has of the one that it wants; a note if that is less.
[[nodiscard]] Load cut_window(const State& state, const Worker& worker, const v1::Window& wanted, Actions& actions);

// identity.cpp
/// Whether what the HELLO claims, or has unanswered, is of this store, and not of one that had other commits.
enum class SpeaksOf : std::uint8_t { this_store, another_store, later_store };
[[nodiscard]] SpeaksOf speaks_of(const State& state, const v1::Hello& hello, bool claims_something);
/// Says to people, once a client (`told`), that it speaks of another.
void tell_of_store(const State& state, const v1::Hello& hello, SpeaksOf what, const std::string& client, bool& told,
                   Actions& actions);

// naming.cpp
/// A HELLO of a worker: `parts` are its further ones, encoded.
struct Named {
  v1::Hello first;
  std::vector<std::string> parts;
  SpeaksOf speaks_of{};  ///< if not of this store, all that it names is stale
};
/// What the HELLO names stays the worker's, the rest of what it had returns; then it is welcomed.
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
/// Takes them into the gathering commit; returns where the first one is. What has no delay may be delivered ahead of
/// the commit, once the queue is dispatched.
Place take_group(State& state, Now now, Queue& queue, const Incoming& group);
/// Why the queue does not take publishes now; empty if it does.
[[nodiscard]] std::string why_not(const State& state, const Queue& queue, std::uint64_t messages, std::uint64_t bytes);

// windows.cpp
void open_window(State& state, Queue& queue, Publisher& publisher);
void close_window(State& state, Queue& queue, const PublisherId& publisher);
void fill_window(const Queue& queue, const PublisherId& publisher, v1::Window& out);
/// The publisher has seen `epoch`.
void window_seen(State& state, Queue& queue, Publisher& publisher, std::uint64_t epoch, Actions& actions);
/// So much of a publisher's is answered: to be called before the answer is sent.
void free_window(State& state, Queue& queue, const PublisherId& publisher, Load answered, Actions& actions);
/// Gives a bounded queue's room to its publishers, or takes it back: now, or soon if that was done just now and there
/// are many.
void share_room(State& state, Queue& queue, Actions& actions);
/// What was to be shared soon.
void sharing_tick(State& state, Actions& actions);
/// Once a second: room that nobody uses goes to publishers that have none.
void windows_tick(State& state, Queue& queue, Actions& actions);

// delivering.cpp
/// What one call gives a worker of several queues leaves in one frame.
void dispatch(Turn& turn, Queue& queue);
void dispatch(Turn& turn, const QueueSet& queues);
/// All of its queues.
void dispatch_for(Turn& turn, Worker& worker);
/// Those of its queues that have something for somebody.
void dispatch_waiting(Turn& turn, Worker& worker);
void dispatch_all(Turn& turn);
/// Messages [first, first + count) of a segment are ready (again).
void make_ready(State& state, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t count);
/// Loads a segment's ends (and types), if they are not in memory. False if they are damaged: what was ready of it is
/// set aside, and its ends are a guess.
bool load(State& state, const SegmentKey& key, Segment& segment);
/// The same for its names: only what has outputs needs them.
[[nodiscard]] bool load_names(State& state, const SegmentKey& key, Segment& segment);
[[nodiscard]] bool knows(const Attached& attached, const std::string& type);
/// Hands over one record.
void hand(Turn& turn, Worker& worker, Attached& attached, RecordHead head);
/// The record of a run is ready again.
void record_ready(State& state, Queue& queue, LeaseRun& run);
/// What is still open of a run is ready again; its attempt does not count.
void give_back(State& state, Queue& queue, LeaseRun& run);
[[nodiscard]] Attached::Match match(State& state, Attached& attached, TypeSet types);

// bursts.cpp
inline constexpr std::uint64_t no_level = ~std::uint64_t{0};
/// What each session with room may hold, so that all that is ready is shared evenly; no_level if it need not be.
[[nodiscard]] std::uint64_t level_of(State& state, const Queue& queue);

// recalls.cpp
/// Something was handed out: recalls_tick is to look.
void look_for_recalls(State& state, Now now);
void recalls_tick(Turn& turn);

// sharing.cpp
/// Something of the queue may be delivered to somebody who knows its type.
[[nodiscard]] bool has_ready(const State& state, const Queue& queue);
/// The worker's queue with the lowest id above `after` that is waiting; nullptr if none is.
[[nodiscard]] Queue* next_waiting(State& state, Worker& worker, QueueId after);
/// How many of the worker's queues are waiting, and not paused. It asks them all.
void count_sharers(State& state, Worker& worker);
/// The most of a queue that the worker may have while another of its queues waits.
[[nodiscard]] std::uint64_t share_of(const Worker& worker);
/// What this worker may still take of this queue: no more than its share, or a lot, while another of its queues waits.
[[nodiscard]] std::uint64_t credit(State& state, Now now, Worker& worker, const Attached& attached);

// reading.cpp
/// False if it has so much unread that it is to be sent no more now.
[[nodiscard]] bool reads(State& state, Worker& worker);
void on_read(Turn& turn, Connection by, Bytes bytes);
/// Its connection is gone, and what was in it.
void forget_unread(State& state, Worker& worker);

// ahead.cpp
/// A segment stands in its lane, and is ready: it is on disk, or `ahead` of that.
void appear(State& state, Queue& queue, const SegmentKey& key, OpenSegment& open, bool ahead);
/// True if the queue has segments that are not on disk and may be delivered all the same.
[[nodiscard]] bool has_ahead(const State& state, const Queue& queue);
/// They appear in their lanes; false if there are none.
bool run_ahead(State& state, Queue& queue);
/// All messages of a segment that is not on disk are settled. If nothing of it must be, it is never written, and its
/// publishers are told (tell_elided).
void settled_ahead(State& state, Queue& queue, const SegmentKey& key);
/// This commit reads messages of the segment from the store.
void needs_segment(State& state, const SegmentKey& key);
/// The acks that confirm the publishes of this segment leave with outputs.
void bears_outputs(State& state, const SegmentKey& key);
void tell_elided(State& state, Actions& actions);

// holding.cpp
/// The queue's messages end so soon after their delivery that a commit waits for them.
[[nodiscard]] bool is_quick(const Queue& queue);
/// What all workers of a queue may hold.
[[nodiscard]] std::uint64_t held_most(const Queue& queue);
/// Messages in segments that were confirmed, and have not ended: they are on disk.
[[nodiscard]] std::uint64_t written(const Queue& queue);
/// When what is gathered should be written; Instant::max(): there is nothing, Instant::min(): now.
[[nodiscard]] Instant commit_due(const State& state);
/// Messages of a segment from `first` on are delivered: the first may be watched.
void watch(Now now, Queue& queue, const SegmentKey& key, std::uint32_t first);
/// Messages [first, last) of a segment have ended.
void watched_ended(Now now, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t last);
/// Its lease is over, and it has not ended.
void watched_returns(Queue& queue, const SegmentKey& key);
/// A batch is sealed: who is watched for too long is slow, and so is a queue that nobody takes anything of.
void judge_watched(State& state, Now now);

// settling.cpp
void on_settle(Turn& turn, Client& client, std::uint64_t frame, const v1::Settle& settle, const Slice& run);
/// Everybody is back: the outcomes that waited for that are applied.
void settle_deferred(State& state, Now now);
void answer(v1::Settled& settled, std::uint64_t lease, std::uint64_t count, v1::Settled::Answer what,
            const std::string& reason = {});

// applying.cpp
/// What a message that failed, was put off, or is suspect is as a record.
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
/// Applies an outcome to them.
void apply(State& state, Now now, Worker& worker, const OpenPart& part, const v1::Settle::Run& outcome);

// outputs.cpp
/// The run that holds `lease`, if its message is still open.
[[nodiscard]] LeaseRun* find_open(Worker& worker, std::uint64_t lease, std::uint32_t& offset);
/// The lease of an output that the frame does not ack, if there is one: it would leave without its ack, or be dropped.
[[nodiscard]] std::optional<std::uint64_t> output_without_ack(const v1::Settle& settle);
/// Outputs of a settle frame: those whose leases are open are taken. Returns the leases whose outputs cannot be: they
/// are answered, and keep their deliveries.
std::set<std::uint64_t> take_outputs(State& state, Now now, Worker& worker, const v1::Settle& settle, const Slice& run,
                                     v1::Settled& settled);

// history.cpp
/// Cuts what is kept of an attempt to a size that a history can bear.
void bound(v1::Attempt& attempt);

// records.cpp
/// Some record may be due, and is in nobody's hands.
[[nodiscard]] bool has_due(const State& state, Now now, const Queue& queue);
/// Takes records that are due into memory, as many as may be needed.
void load_due(State& state, Now now, Queue& queue);
/// True if a record that is due then need not be looked up in the store: that is soon, and there are not too many.
[[nodiscard]] bool may_wait_in_memory(const State& state, Now now, const Queue& queue, std::int64_t due_us, DueBy by);
/// A record that is on disk now waits in memory until it is due, and stays loaded. False: it may not.
bool schedule(State& state, Now now, Queue& queue, RecordHead& head);
/// Moves one message of the queue, taken, from its source: to a record due at `at_us`, or to the dead letters.
Pending::Moved& move_message(State& state, Queue& queue, MoveMessage move);
/// A message of a segment is settled: its bit is set, and the segment dropped with the last.
void settle_bits(State& state, Queue& queue, const SegmentKey& key, std::uint32_t first, std::uint32_t last);
void records_tick(Turn& turn);

// clocks.cpp
/// Notices that the wall clock was put forward or back since the last turn.
void wall_tick(Turn& turn);

// damaged.cpp
/// A segment is damaged: what is ready of it is set aside. (What somebody holds may yet be acked.)
void set_aside(State& state, const SegmentKey& key, Segment& segment);
/// Messages [first, last) of a damaged segment that were in somebody's hands.
void set_aside(Queue& queue, Segment& segment, std::uint32_t first, std::uint32_t last);
/// A record that nothing in memory knows of.
void set_aside(Queue& queue, const Place& place);
/// A dead letter is: it stays one, and is named.
void found_damaged(Queue& queue, const Place& dead);
/// Pieces that could not be sent to that connection: they are not in the store as they were written.
void on_undelivered(Turn& turn, Connection to, const std::vector<Piece>& pieces);
/// What the sealed batch was to move, and did not. Before on_committed().
void on_damaged(State& state, const std::vector<Damage>& all);
/// A line a queue and second, however many they are.
void tell_damaged(Queue& queue, Actions& actions);

// compacting.cpp
void compaction_tick(State& state, Now now);
/// False while it is only being written.
[[nodiscard]] bool is_on_disk(const State& state, const RecordHead& record);

// recovery.cpp
void recover(State& state, Now now, Recovered recovered);
/// Answers a claim of a HELLO, run by run.
void claim(Turn& turn, Worker& worker, const v1::Claim& claim, bool settled, v1::Welcome& welcome);
/// A noted session is back.
void one_recovered(Turn& turn, Worker& worker);
/// Once all are back, or their time is out: what waited for their claims goes out.
void recovery_tick(Turn& turn);

// committing.cpp
[[nodiscard]] Batch seal(State& state, Now now);
/// `commits`: how many are on disk, this one included; 0 if it is of what was not written.
void confirm_publishers(State& state, std::vector<Answer>& answers, std::uint64_t commits, QueueSet& touched,
                        Actions& actions);
void on_committed(Turn& turn);

// looking.cpp
/// One page each: `wanted` says from where on. What it costs is bounded, however many there are.
void describe_queues(State& state, const v1::ListQueues& wanted, v1::Queues& page);
void describe_workers(State& state, Now now, const v1::ListWorkers& wanted, v1::Workers& page);

[[nodiscard]] inline std::int64_t micros(WallTime wall) { return wall.time_since_epoch().count(); }

}  // namespace weir::broker::core
