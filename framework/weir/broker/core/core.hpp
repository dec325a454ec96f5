#pragma once

/// The embedded broker's core: a pure state machine.
///
/// Frames, ends of connections, commits and times go in; frames to send and batches to write come out. It does no I/O
/// and reads no clock, so the same code runs under the ZeroMQ server, in memory, and under the simulator.
///
/// The shell's loop takes what has arrived, calls the functions below, and carries out the actions. Then, if no commit
/// is running and `commit_due()` has come, it calls `seal()` and commits the batch on the storage thread. When that is
/// done, it calls `committed()`.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/broker/core/action.hpp"
#include "weir/broker/core/store.hpp"
#include "weir/message/policy.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/v1/control.pb.h"
#include "weir/v1/wire.pb.h"

namespace weir::broker::core {

struct QueueConfig {
  std::string name;
  QueuePolicy policy;
};

struct Config {
  std::string build;  ///< program and version; for people
  std::vector<QueueConfig> queues;
  Duration session_timeout = std::chrono::seconds(10);
  Bytes message_most{16 * 1024 * 1024};
  /// The most that a publisher may have unanswered in one queue.
  Load publisher_window{{16384}, {8 * 1024 * 1024}};
  /// The most that a worker's session may have unsettled: it may be sent that much and read nothing.
  Load window_most{{65'536}, {256 * 1024 * 1024}};
  /// The most that all publishers together may have unanswered. It may have to be written after the disk is full, and
  /// must then fit the store's reserve; otherwise settling would wait behind it for ever (promise 11).
  Bytes unanswered_most{16 * 1024 * 1024};
  /// The most that may be on its way to all workers together, and not read by them. Beyond it a worker that has
  /// anything unread is sent nothing. A worker that has an eighth of it unread is sent nothing in any case. Nothing: no
  /// bound, for a shell that does not call read().
  std::optional<Bytes> unread_most;
  /// If the last messages of a segment have been leased for `after` (one to two times that), they become records, and
  /// the segment is dropped. They must be at most 1/`sparse` of it, and the rest at least `freed_least`.
  struct Compaction {
    Duration after = std::chrono::seconds(10);
    std::uint32_t sparse = 4;
    Bytes freed_least{16 * 1024};
  } compaction;
  /// What a call may cost before the rest of it is left for later calls (work.hpp). The estimates are rough, so it is
  /// well below the 5 ms that a turn may take.
  Duration::rep effort_ns = 1'000'000;
  std::uint64_t seed = 1;  ///< of the backoff's jitter
};

class State;

class Core {
 public:
  /// `store` must outlive the core; it is read from, never written to. `recovered` is what store.recover() gave.
  Core(Config config, Recovered recovered, Store& store, Now now);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// A frame arrived: decoded, its run where it lies. Everything is answered, also a frame that is wrong.
  void frame(Now now, Connection from, const v1::Frame& head, const Slice& run, Actions& actions);
  /// Bytes arrived that are no frame, or are too many for one: the session is answered, and ended.
  void malformed(Now now, Connection from, const protocol::ProtocolError& error, Actions& actions);
  /// The connection is gone (a send failed, or the shell gave it up).
  void disconnected(Now now, Connection from, Actions& actions);
  /// So many more bytes of what was sent to this connection have arrived at its peer.
  void read(Now now, Connection by, Bytes bytes, Actions& actions);
  /// True if work of earlier calls is left: go_on() is to be called in each turn, after the frames that came.
  [[nodiscard]] bool has_work() const;
  void go_on(Now now, Actions& actions);
  /// Time passed. Call it at `next_tick()` at the latest.
  void tick(Now now, Actions& actions);
  [[nodiscard]] Instant next_tick() const;

  /// True if there is something to write.
  [[nodiscard]] bool wants_commit() const;
  /// When it should be written at the latest: Instant::max() if there is nothing, Instant::min() if a client waits for
  /// it. Sooner is never wrong.
  [[nodiscard]] Instant commit_due() const;
  /// Returns all that is to be written since the last seal. Do not call it while another batch is uncommitted.
  [[nodiscard]] Batch seal(Now now);
  /// The store does not have the bytes of these pieces as they were written. An action had sent them to that
  /// connection, and the shell has left them out. They are set aside.
  void undelivered(Now now, Connection to, const std::vector<Piece>& pieces, Actions& actions);
  /// The same for messages that the sealed batch was to move. Call it before committed().
  void damaged(const std::vector<Damage>& all);
  /// The sealed batch is on disk: confirmations go out, and its messages become ready.
  void committed(Now now, Actions& actions);
  /// Whether the store has room above its reserve. Without room there is no publishing, outputs are answered `store
  /// full`, and settling goes on. (If a commit fails for want of room, the shell tries it again until it succeeds.)
  void room(Now now, bool enough, Actions& actions);

  /// Control: the shell has checked the right.
  void list_queues(const v1::ListQueues& wanted, v1::Queues& page) const;
  void list_workers(Now now, const v1::ListWorkers& wanted, v1::Workers& page) const;
  /// All of them, page after page. Not for a loop that others wait for.
  void list_queues(v1::Queues& all) const;
  void list_workers(Now now, v1::Workers& all) const;
  [[nodiscard]] std::optional<QueueId> queue_id(std::string_view name) const;
  [[nodiscard]] std::string queue_name(QueueId id) const;
  [[nodiscard]] std::vector<std::string> queue_names() const;
  /// Replays or purges dead letters. The reply to request `request` follows the commit (`from` 0: there is none).
  /// Returns how many were dead letters, and not taken by an earlier request.
  std::uint64_t replay_dead(Now now, Connection from, std::uint64_t request, const std::vector<Place>& places,
                            Actions& actions);
  std::uint64_t purge_dead(Now now, Connection from, std::uint64_t request, const std::vector<Place>& places,
                           Actions& actions);
  /// Sends a control reply as the connection's next frame.
  void reply(Connection to, v1::ControlReply reply, Actions& actions);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace weir::broker::core
