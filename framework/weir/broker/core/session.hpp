#pragma once

/// Who talks to the broker: connections, and the workers, processes and publishers behind them, which outlive them.

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "weir/broker/core/action.hpp"
#include "weir/broker/core/queue.hpp"
#include "weir/broker/core/work.hpp"

namespace weir::broker::core {

/// Neighbouring messages of one segment, or one record, under neighbouring leases.
struct LeaseRun {
  SegmentKey key;
  std::uint32_t first{};
  std::uint32_t count{};
  std::uint32_t attempt{};
  Source source{};
  Bits open;  ///< not yet settled; bit i is message first + i
  /// Record: what it was, should it come back.
  std::unique_ptr<RecordHead> record;
  /// After a restart: the lease that it was claimed under; and that its outcome is known to its worker already, so that
  /// it does not count in the window, and anything but an ack waits until all noted sessions are back.
  LeaseId claimed;
  LeaseId origin;  ///< and the lease under which its worker was sent it: the latest of several claims is right
  bool settled_by_worker = false;

  /// All of it is settled.
  [[nodiscard]] bool finished() const { return open.next_set(0) >= count; }
};

using Leases = std::map<std::uint64_t, LeaseRun>;  ///< by the first lease

/// What a worker said that it consumes.
struct Attached {
  Queue* queue{};
  std::set<std::string> types;  ///< empty: all
  Messages outstanding;
  Messages borrowed;  ///< all of them, once they were more than the queue's share; what ends is paid back first
  std::uint64_t held_at_look{};  ///< messages, when that was last looked at (recalls.cpp)
  Instant asked_again_at{};      ///< not before, for what it has not started
  enum class Match : std::uint8_t { unknown_yet, none, some, all };
  std::vector<Match> matches;  ///< by type set
};

struct Process;

/// One shard of a worker process, over any number of connections.
struct Worker {
  Process* process{};
  ProcessToken token;
  std::uint32_t shard{};
  std::uint64_t number{};  ///< of all workers that there were since the start
  std::string group, host, build;
  std::uint32_t pid{};
  Connection connection{};  ///< 0: cut off
  Connection naming{};      ///< whose HELLO is being gone through
  std::uint64_t window_epoch{};
  Load window;
  Load outstanding;
  Messages borrowed;               ///< by all of its queues
  std::vector<Attached> attached;  ///< by the queue's id
  QueueId queue_turn{};            ///< the one that it was sent something of last
  unsigned sharers{};              ///< how many of them had something when that was last looked at
  std::size_t waiting_counted{};   ///< how many queues of all had, then
  bool turned_away = false;        ///< one of them had something, and it took none
  Leases leases;
  bool noted = false;          ///< in the store, on disk: may be sent messages
  bool noting = false;         ///< it will be, with a commit that is under way
  bool recovering = false;     ///< noted before a restart, and not yet back
  bool told_of_store = false;  ///< people were told that it spoke of another store, or a later one
  struct Trial {
    v1::Suspicion suspicion{};
    Instant since;
  };
  /// Leases of suspects. One that has ended is still in here until somebody looks (suspects.cpp).
  std::map<std::uint64_t, Trial> trials;
  Instant last_sent;
  std::vector<Piece> outbox;  ///< of the current turn
  std::uint64_t outbox_bytes{};
  Bytes unread;  ///< of what this connection was sent, messages alone
  /// What its last failure left in a history: the next one is often the same.
  std::shared_ptr<const v1::Attempt> failed;

  void take(Attached& from, Load load, Messages share) {
    outstanding += load;
    from.outstanding += load.messages;
    if (from.outstanding <= share) return;
    borrowed += from.outstanding - from.borrowed;
    from.borrowed = from.outstanding;
  }
  /// `from`: nullptr if it is attached to that queue no more.
  void let_go(Attached* from, Load load) {
    outstanding -= load;
    if (from == nullptr) return;
    from->outstanding -= load.messages;
    const Messages paid_back = std::min(from->borrowed, load.messages);
    borrowed -= paid_back;
    from->borrowed -= paid_back;
  }

  [[nodiscard]] Attached* attachment(const Queue* queue) {
    const auto at =
        std::lower_bound(attached.begin(), attached.end(), queue,
                         [](const Attached& one, const Queue* wanted) { return one.queue->id < wanted->id; });
    return at != attached.end() && at->queue == queue ? &*at : nullptr;
  }
  [[nodiscard]] const Attached* attachment(const Queue* queue) const {
    return const_cast<Worker*>(this)->attachment(queue);
  }
};

/// A worker process, vouched for by its keep-alives.
struct Process {
  Instant since;  ///< its first session's; of one that was noted before a restart, the restart
  Instant last_seen;
  std::map<std::uint32_t, std::unique_ptr<Worker>> workers;  ///< by shard
  std::map<std::uint32_t, v1::ShardState> shards;
  std::uint64_t cleared{};             ///< suspects that it has settled
  bool of_two_stores = false;          ///< it has held messages of another store: places that it names may be of that
  bool was_sent = false;               ///< some message; before, it can have left nothing behind
  std::optional<Place> alone;          ///< it is sent nothing but this suspect
  std::optional<Instant> empty_since;  ///< when it was first seen to hold nothing, before that suspect
};

struct Publisher {
  PublisherId id;
  Connection connection{};
  std::uint64_t taken{};       ///< the highest number taken
  v1::PublisherMark mark;      ///< as committed, or as the next commit has it
  std::uint64_t committed{};   ///< mark.mark on disk
  bool stored = false;         ///< a mark of it is on disk: the next broker will know it
  bool in_doubt = false;       ///< told that what it has unanswered is, and silent since: it may not have heard it
  bool told_of_store = false;  ///< people were told that it spoke of another store, or a later one
  /// Above it: what was confirmed without being written, first and last.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> elided;
  bool dirty = false;
  Instant ended_at;
  std::set<QueueId> queues;  ///< with a window
};

/// One connection.
struct Client {
  Connection connection{};
  v1::Kind kind = v1::KIND_UNSPECIFIED;
  std::uint64_t frames_in{};
  std::uint64_t frames_out{};
  std::uint64_t named{};  ///< messages that its HELLO names so far
  /// Of a HELLO that is not complete, encoded: parsed they are many times as large.
  std::vector<std::string> hello_parts;
  std::size_t hello_bytes{};            ///< of them
  std::uint64_t attach_names{};         ///< queues and types that its HELLO names so far
  std::vector<v1::Attach> attach_more;  ///< of the parts after the first
  Instant hello_since;                  ///< its first part
  bool welcomed = false;
  Worker* worker{};
  Publisher* publisher{};
  std::uint64_t numbered{};  ///< the highest number that it published in this session
  /// What is left to do of its last frame, and the frames that came since; in this order.
  std::unique_ptr<Work> work;
  struct Waiting {
    v1::Frame head;
    Slice run;
    std::size_t bytes{};
  };
  std::deque<Waiting> waiting;
  std::size_t waiting_bytes{};
  bool busy = false;  ///< it has work, or frames that wait
};

}  // namespace weir::broker::core
