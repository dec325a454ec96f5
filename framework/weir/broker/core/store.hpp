#pragma once

/// The store port: what the core asks to be written, and what may be read back.
///
/// The core decides, a store obeys: `commit` applies one batch, all or nothing, and is durable when it returns. The
/// stores are LMDB (broker/store), plain maps (engine/memory) and the simulator's disk.

#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "weir/broker/core/names.hpp"
#include "weir/message/ids.hpp"
#include "weir/message/name.hpp"
#include "weir/message/slice.hpp"
#include "weir/message/units.hpp"
#include "weir/v1/store.pb.h"

namespace weir::broker::core {

/// Names a segment. Its key in the store is queue (4 B), lane (1 B), segment (8 B), big-endian.
struct SegmentKey {
  QueueId queue{};
  Lane lane{};
  SegmentNumber segment{};
  friend constexpr auto operator<=>(const SegmentKey&, const SegmentKey&) = default;
};

/// Where a message that is about to move stands now.
enum class Source : std::uint8_t {
  segment,  ///< in its segment, at (lane, place)
  record,   ///< a record at its place
};

/// A segment before it is on disk: its columns, and its run in one or more pieces, as they came.
struct Contents {
  v1::Index index;  ///< without `names`: they stand beside it
  NameRuns names;
  std::vector<Slice> run;
  std::int64_t published_at_us{};
};
/// A new segment. A store also keeps its head (`make_head`).
struct PutSegment {
  SegmentKey key;
  std::shared_ptr<const Contents> contents;
  std::uint64_t bytes{};  ///< of its run
  std::string settled;    ///< messages that are records from the start; empty: none

  void make_head(v1::SegmentHead& head) const {
    head.Clear();
    head.set_count(static_cast<std::uint32_t>(contents->index.lengths_size()));
    head.set_bytes(bytes);
    *head.mutable_types() = contents->index.types();
    head.set_settled(settled);
  }
};
/// Replaces `settled` in a segment's head.
struct PutSettled {
  SegmentKey key;
  std::string settled;  ///< ceil(n/8) bytes, low bit first
};
/// Removes a segment and its head: all of it is settled.
struct DropSegment {
  SegmentKey key;
};
/// A message published with a delay: a record from the start.
struct PutRecord {
  Place place;
  v1::Record record;  ///< without body
  Slice body;
};
/// An entry of a message's history.
struct Attempted {
  Attempted(std::uint32_t nth, std::int64_t started_us, std::uint64_t took_us, std::shared_ptr<const v1::Attempt> rest)
      : number(nth), started_at_us(started_us), duration_us(took_us), common(std::move(rest)) {}
  explicit Attempted(v1::Attempt whole)
      : number(whole.number()),
        started_at_us(whole.started_at_us()),
        duration_us(whole.duration_us()),
        common(std::make_shared<const v1::Attempt>(std::move(whole))) {}

  void append_to(v1::Record& record) const {
    v1::Attempt& entry = *record.add_history();
    entry = *common;
    entry.set_number(number);
    entry.set_started_at_us(started_at_us);
    entry.set_duration_us(duration_us);
  }

  std::uint32_t number{};
  std::int64_t started_at_us{};
  std::uint64_t duration_us{};
  std::shared_ptr<const v1::Attempt> common;  ///< all other fields: kept once for messages that fail alike
};
/// The mark that a replay leaves between the attempts.
inline void append_replay(std::int64_t at_us, v1::Record& record) {
  v1::Attempt& entry = *record.add_history();
  entry.set_started_at_us(at_us);
  entry.set_error("replayed");
  entry.set_replayed(true);
}
/// A message gets, or changes, a fate of its own: it is read from its source, and becomes a record (due) or a dead
/// letter (`dead`). Of a record only these fields change; type, key and body come from the source.
struct MoveMessage {
  Place place;
  Lane lane{};
  Source source{};
  bool dead = false;
  std::int64_t at_us{};  ///< due time, or time of death
  std::uint32_t attempts{};
  LeaseId lease;                     ///< under which the outcome was applied
  std::optional<Attempted> attempt;  ///< appended to the history
  v1::Suspicion suspicion = v1::UNSUSPECTED;
};
/// The clock by which a record is due; each has a range of its own in the store. Both read as microseconds since 1970,
/// and go on by the wall clock after a restart.
enum class DueBy : std::uint8_t {
  broker,  ///< the wall's time at its start, plus the time since, whatever the wall clock does: delays and backoff
  wall,    ///< what the wall clock shows: `deliver_at`
};
inline constexpr std::array due_clocks{DueBy::broker, DueBy::wall};

/// A record is gone (acked).
struct DropRecord {
  Place place;
  std::int64_t due_us{};  ///< as far as is known; if right, it saves a look-up
  DueBy due_by{};
};
/// A dead letter becomes a record due at `due_us`. Its attempts are 0; its history is kept, and marked as replayed.
struct ReplayDead {
  Place place;
  std::int64_t due_us{};
};
struct DropDead {
  Place place;
};
struct NoteSession {
  ProcessToken token;
  std::uint32_t shard{};
  v1::SessionNote note;
};
struct ForgetSession {
  ProcessToken token;
  std::uint32_t shard{};
};
struct PutPublisher {
  PublisherId publisher;
  v1::PublisherMark mark;
};
struct DropPublisher {
  PublisherId publisher;
};
/// Creates or replaces a queue's state.
struct PutQueue {
  QueueId queue{};
  v1::QueueState state;
};

using Write = std::variant<PutSegment, PutSettled, DropSegment, PutRecord, MoveMessage, DropRecord, ReplayDead,
                           DropDead, NoteSession, ForgetSession, PutPublisher, DropPublisher, PutQueue>;

/// Writes of one transaction, carried out in this order. (A DropRecord may come later: no write to its place follows.)
struct Batch {
  std::uint64_t number{};
  std::vector<Write> writes;
};

/// A message that a commit was to move, but whose bytes the store no longer has as they were written. It stays where it
/// was, unsettled, and nothing of it was written.
struct Damage {
  enum class Of : std::uint8_t { segment, record, dead } of{};
  SegmentKey key;  ///< without its lane, unless `of` is a segment
  std::uint32_t index{};
  bool was_to_die = false;
};

/// A record as the core schedules it; the body stays in the store.
struct RecordHead {
  Place place;
  std::string type;
  Lane lane{};
  std::uint32_t attempts{};  ///< made so far, that count
  std::int64_t due_us{};
  DueBy due_by{};
  Bytes bytes;                      ///< of the encoded Body
  std::optional<MessageName> name;  ///< nothing: its record in the store has it
  LeaseId lease;
  v1::Suspicion suspicion = v1::UNSUSPECTED;
  std::uint64_t batch{};  ///< the batch that brings it to disk; 0: it was found there
};

/// Records are in the order of their due times, rounded down to this, then of their places. In the order of exact times
/// a batch of retries with jitter would touch one page per record.
inline constexpr std::int64_t due_bucket_us = 64'000;
[[nodiscard]] constexpr std::int64_t due_bucket(std::int64_t due_us) {
  return due_us <= 0 ? 0 : due_us - due_us % due_bucket_us;
}

/// The position of a walk over due records: just behind this place, whether or not a record is there.
struct DueCursor {
  std::int64_t bucket_us{};
  SegmentNumber segment{};
  std::uint32_t index{};
  friend constexpr auto operator<=>(const DueCursor&, const DueCursor&) = default;
};

/// How far a walk came.
struct DueWalk {
  DueCursor at;            ///< records up to here need no further look: given, passed over, or in `but_for`
  std::int64_t next_us{};  ///< no record after `at` is due before this; the largest value: there is none
  std::size_t again{};     ///< how many of the records looked at are after `at`: the next walk looks at them again
  std::vector<Place> damaged{};  ///< due records that are not as they were written: passed over
};
/// A walk ends after so many. Other records of this bucket that are due come with a later walk, once the bucket is over
/// at the latest.
inline constexpr std::size_t looked_at_most = 16'384;

using Places = boost::unordered_flat_set<Place>;

/// Records of `queue` behind `after` that are due by `until_us` of this clock, at most `most`.
struct DueSearch {
  QueueId queue{};
  DueBy by{};
  DueCursor after;
  std::int64_t until_us{};
  std::size_t most{};
};

/// A consistent view of what is committed. It is short-lived: never held across turns of the loop. Its views live as
/// long as it does. A value that is not as it was written counts as missing: nothing damaged is returned.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  /// An encoded v1::Segment; nothing if there is none.
  [[nodiscard]] virtual std::optional<std::string_view> segment(SegmentKey key) = 0;
  /// The same, but only the part before the run may be read: the run may be damaged.
  [[nodiscard]] virtual std::optional<std::string_view> columns(SegmentKey key) { return segment(key); }
  /// columns(key) will be called soon: a store may begin to bring them to the processor's cache.
  virtual void prefetch(SegmentKey /*key*/) {}
  /// True if `run`, a copy of the run of `stored`, which columns(key) gave, is as it was written. Where bytes come from
  /// another core's cache, a copy is checked in a fifth of the time.
  [[nodiscard]] virtual bool is_as_written(SegmentKey /*key*/, std::string_view /*stored*/, std::string_view /*run*/) {
    return true;
  }
  /// An encoded v1::Record; nothing if there is none.
  [[nodiscard]] virtual std::optional<std::string_view> record(Place place) = 0;
  [[nodiscard]] virtual std::optional<std::string_view> dead(Place place) = 0;
  /// Appends the records that are looked for, except those in `but_for`.
  virtual DueWalk due(const DueSearch& search, const Places& but_for, std::vector<RecordHead>& out) = 0;
  [[nodiscard]] virtual std::optional<RecordHead> record_head(Place place) = 0;
  /// Appends at most `most` places of dead letters of `queue` above `after`, in the order of places.
  virtual void dead_after(QueueId queue, std::optional<Place> after, std::size_t most, std::vector<Place>& out) = 0;
  /// True if there is a dead letter at `place`, damaged or not.
  [[nodiscard]] bool has_dead(Place place) {
    const Place before{place.queue, place.segment - (place.index == 0 ? 1 : 0), place.index - 1};
    std::vector<Place> found;
    dead_after(place.queue, place.segment == 0 && place.index == 0 ? std::nullopt : std::optional(before), 1, found);
    return !found.empty() && found.front() == place;
  }
};

/// All that a start needs; no payload is read for it.
struct Recovered {
  struct SegmentEntry {
    Lane lane{};
    SegmentNumber number{};
    v1::SegmentHead head;
  };
  struct Queue {
    QueueId id{};
    v1::QueueState state;
    std::vector<SegmentEntry> segments;  ///< by lane, then number
    Load records;                        ///< delayed and retried
    Messages dead;
    Messages damaged;  ///< as far as is known
  };
  struct Session {
    ProcessToken token;
    std::uint32_t shard{};
    v1::SessionNote note;
  };
  struct Publisher {
    PublisherId id;
    v1::PublisherMark mark;
  };
  /// A value that is not as it was written. It stays where it is, and gives no entry in the other lists.
  struct Damaged {
    QueueId queue{};    ///< 0: none, or it cannot be said which
    std::string what;   ///< for people: its kind, and its key
    Messages messages;  ///< those that are not delivered because of it; 0 if the number is not known
  };
  /// A start of a broker on this store. The store keeps the last `starts_most`.
  struct Start {
    StartId id;
    std::uint64_t commits{};  ///< before this start
  };
  static constexpr std::size_t starts_most = 1024;
  /// Adds a start, at the present number of commits.
  void started(StartId id) {
    starts.push_back({id, commits});
    if (starts.size() > starts_most) starts.erase(starts.begin());
  }
  StoreId store;
  std::uint64_t commits{};      ///< how many batches were committed
  std::vector<Start> starts;    ///< the last is this one, and on disk before this is returned
  std::uint32_t incarnation{};  ///< raised, and on disk, before this is returned
  std::vector<Damaged> damaged;
  QueueId highest_queue{};  ///< the highest id of a queue that anything in the store belongs to
  std::vector<Queue> queues;
  std::vector<Session> sessions;
  std::vector<Publisher> publishers;
};

class Store {
 public:
  virtual ~Store() = default;
  /// Called once, first. Throws StoreError, which says what is wrong with the data and what to do.
  [[nodiscard]] virtual Recovered recover() = 0;
  /// Thread: one at a time, any thread. All of `batch` is durable on return, or nothing of it and it throws. The batch
  /// is counted in the same transaction.
  virtual void commit(const Batch& batch) = 0;
  /// Thread: the loop's, also while another thread commits.
  [[nodiscard]] virtual std::unique_ptr<Snapshot> snapshot() = 0;
};

}  // namespace weir::broker::core
