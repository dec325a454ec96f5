#pragma once

/// Connections, and the workers, processes and publishers behind them, which outlive their connections.

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
  std::uint64_t bytes{};  ///< of all its messages together; 0: the segment knows
  /// The segment, if it is known; it stays where it is as long as one of its messages is not settled.
  Segment* segment{};
  Bits open;  ///< not yet settled; bit i is message first + i
  /// Of a record: its head, in case it comes back.
  std::unique_ptr<RecordHead> record;
  /// After a restart: the lease under which it was claimed.
  LeaseId claimed;
  LeaseId origin;  ///< the lease under which its worker was sent it; of several claims the latest is right
  /// Its worker knows its outcome already. So it does not count in the window; and after a restart any outcome but an
  /// ack waits until all noted sessions are back.
  bool settled_by_worker = false;

  /// True if all of it is settled.
  [[nodiscard]] bool finished() const { return open.next_set(0) >= count; }
};

/// The segment of a run that has an open message.
inline Segment& segment_of(Queue& queue, const LeaseRun& run) {
  return run.segment != nullptr ? *run.segment : find_segment(queue, run.key);
}

using Leases = std::map<std::uint64_t, LeaseRun>;  ///< by the first lease

/// A queue that a worker said it consumes.
struct Attached {
  Queue* queue{};
  std::set<std::string> types;  ///< empty: all
  Messages outstanding;
  Messages borrowed;  ///< all of `outstanding`, once that exceeded the queue's share; what ends is paid back first
  std::uint64_t held_at_look{};  ///< messages at the last look (recalls.cpp)
  Instant asked_again_at{};      ///< it is not asked before this to give back what has not started
  enum class Match : std::uint8_t { unknown_yet, none, some, all };
  std::vector<Match> matches;  ///< by type set
};

struct Process;

/// One shard of a worker process, over any number of connections.
struct Worker {
  Process* process{};
  ProcessToken token;
  std::uint32_t shard{};
  std::uint64_t number{};  ///< among all workers since the start
  std::string group, host, build;
  std::uint32_t pid{};
  Connection connection{};  ///< 0: cut off
  Connection naming{};      ///< the connection whose HELLO is being gone through
  std::uint64_t window_epoch{};
  Load window;
  Load outstanding;
  Messages borrowed;               ///< by all of its queues
  std::vector<Attached> attached;  ///< by the queue's id
  QueueId queue_turn{};            ///< the queue of which it was last sent something
  unsigned sharers{};              ///< how many of its queues had something at the last count
  std::size_t waiting_counted{};   ///< how many queues of the broker had something at that count
  bool turned_away = false;        ///< one of its queues had something, and it took none
  Leases leases;
  bool noted = false;          ///< stored on disk: it may be sent messages
  bool noting = false;         ///< a commit that is under way will note it
  bool recovering = false;     ///< noted before a restart, and not yet back
  bool told_of_store = false;  ///< the log told that it spoke of another store, or a later one
  struct Trial {
    v1::Suspicion suspicion{};
    Instant since;
  };
  /// Leases of suspects. A lease that has ended stays here until trials() looks (suspects.cpp).
  std::map<std::uint64_t, Trial> trials;
  Instant last_sent;
  std::vector<Piece> outbox;  ///< of the current turn
  std::uint64_t outbox_bytes{};
  Bytes unread;  ///< of messages that this connection was sent
  /// The entry that its last failure left in a history: the next one is often the same.
  std::shared_ptr<const v1::Attempt> failed;

  void take(Attached& from, Load load, Messages share) {
    outstanding += load;
    from.outstanding += load.messages;
    if (from.outstanding <= share) return;
    borrowed += from.outstanding - from.borrowed;
    from.borrowed = from.outstanding;
  }
  /// `from` is nullptr if the worker is not attached to that queue any more.
  void let_go(Attached* from, Load load) {
    outstanding -= load;
    if (from == nullptr) return;
    from->outstanding -= load.messages;
    const Messages paid_back = std::min(from->borrowed, load.messages);
    borrowed -= paid_back;
    from->borrowed -= paid_back;
  }

  [[nodiscard]] Attached* attachment(const Queue* queue) {
    // Mostly it serves neighbouring ids, all of them.
    const std::size_t guess = attached.empty() ? 0 : queue->id - attached.front().queue->id;
    if (guess < attached.size() && attached[guess].queue == queue) return &attached[guess];
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
  Instant since;  ///< the start of its first session; of a process that was noted before a restart, the restart
  Instant last_seen;
  std::map<std::uint32_t, std::unique_ptr<Worker>> workers;  ///< by shard
  std::map<std::uint32_t, v1::ShardState> shards;
  std::uint64_t cleared{};             ///< suspects that it has settled
  bool of_two_stores = false;          ///< it has held messages of another store: places that it names may be of that
  bool was_sent = false;               ///< it was sent some message; before that it cannot have left anything behind
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
  bool in_doubt = false;       ///< told that its messages are in doubt, and silent since: it may not have heard it
  bool told_of_store = false;  ///< the log told that it spoke of another store, or a later one
  /// Numbers above `committed` that were confirmed without being written: first and last of each range.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> elided;
  bool dirty = false;
  Instant ended_at;
  std::set<QueueId> queues;  ///< those in which it has a window
};

/// One connection.
struct Client {
  Connection connection{};
  v1::Kind kind = v1::KIND_UNSPECIFIED;
  std::uint64_t frames_in{};
  std::uint64_t frames_out{};
  std::uint64_t named{};  ///< messages that its HELLO names so far
  /// The parts of a HELLO that is not complete, encoded: parsed they are many times as large.
  std::vector<std::string> hello_parts;
  std::size_t hello_bytes{};            ///< of `hello_parts`
  std::uint64_t attach_names{};         ///< queues and types that its HELLO names so far
  std::vector<v1::Attach> attach_more;  ///< by the parts after the first
  Instant hello_since;                  ///< when its first part came
  bool welcomed = false;
  Worker* worker{};
  Publisher* publisher{};
  std::uint64_t numbered{};  ///< the highest number that it published in this session
  /// The rest of its last frame, and the frames that came since, in this order.
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
