#pragma once

/// A queue as the core sees it: lanes of segments, records that are due, and the workers that are attached.

#include <algorithm>
#include <array>
#include <bit>
#include <boost/container/flat_set.hpp>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "weir/broker/core/bits.hpp"
#include "weir/broker/core/names.hpp"
#include "weir/broker/core/store.hpp"
#include "weir/message/policy.hpp"

namespace weir::broker::core {

/// A set of message types, interned: most segments of a queue share one.
using TypeSet = std::uint32_t;

/// The types of every type set there is.
class TypeSets {
 public:
  /// `types`: any range of strings.
  template <class Range>
  TypeSet intern(const Range& types) {
    if (last_ < sets_.size() && std::ranges::equal(types, *sets_[last_])) return last_;  // mostly
    std::vector<std::string> sorted(types.begin(), types.end());
    std::ranges::sort(sorted);
    const auto [at, added] = ids_.try_emplace(std::move(sorted), static_cast<TypeSet>(sets_.size()));
    if (added) sets_.push_back(&at->first);
    return last_ = at->second;
  }
  [[nodiscard]] const std::vector<std::string>& types(TypeSet set) const { return *sets_[set]; }

 private:
  std::map<std::vector<std::string>, TypeSet> ids_;
  std::vector<const std::vector<std::string>*> sets_;
  TypeSet last_ = 0;  ///< the set that was interned last
};

/// A segment that is not all settled. The store has its bytes.
struct Segment {
  std::uint32_t count{};
  TypeSet types{};
  std::uint64_t bytes{};
  Bits settled;           ///< gone, or a record now
  Bits taken;             ///< not ready: settled, leased, set aside, or waiting to return
  bool damaged = false;   ///< not in the store as it was written: messages that are or become ready are set aside
  std::uint32_t aside{};  ///< messages that are set aside: taken, and never settled
  /// Its contents while it is not on disk: it is delivered ahead of its commit (ahead.cpp).
  std::shared_ptr<const Contents> ahead;
  /// ends[i] is where message i ends in the run; empty until needed.
  std::vector<std::uint32_t> ends;
  /// Type of each message, as its place in types(types); only if there are several types, and once needed.
  std::vector<std::uint32_t> type_of;
  SegmentNames names;  ///< empty until needed

  /// True if none of its messages is left in it: they are gone, or records.
  [[nodiscard]] bool finished() const { return settled.next_clear(0) >= count; }
  [[nodiscard]] bool has_ready() const { return taken.next_clear(0) < count; }
  /// The type of message i, as its place in types(types). The ends must be loaded.
  [[nodiscard]] std::uint32_t type(std::uint32_t i) const { return type_of.empty() ? 0 : type_of[i]; }
  [[nodiscard]] std::uint64_t bytes_of(std::uint32_t first, std::uint32_t last) const {
    return ends[last - 1] - (first == 0 ? 0 : ends[first - 1]);
  }
};

/// Messages [first, last) of a segment.
struct MessageRange {
  std::uint32_t first{};
  std::uint32_t last{};
};

struct LaneState {
  std::map<SegmentNumber, Segment> segments;
  /// Segments with something ready, by type set. Filled only above `withheld`.
  std::map<TypeSet, std::set<SegmentNumber>> ready;
  /// Segments up to this one may have been delivered before a restart: they wait until all noted sessions are back.
  SegmentNumber withheld{};
  SegmentNumber mark_committed{};  ///< segments up to this one may be delivered
  SegmentNumber mark_asked{};
};

/// What a publisher may have unanswered in this queue.
struct PublisherWindow {
  std::uint64_t epoch{};        ///< of `most`
  Load most;                    ///< the newest window that was sent
  Load effective;               ///< the largest window that the publisher may still go by
  Load outstanding;             ///< taken and unanswered
  std::uint64_t first_epoch{};  ///< groups of an older epoch were sent in an earlier session, and need no credit
  bool used = true;             ///< since the last look (windows_tick)
  bool resting = false;         ///< it had room unused while others had none: it has none until the next look
};

/// The most records in memory that are due and not taken.
inline constexpr std::size_t ready_records_most = 4096;

/// A queue's records that are not due yet, by one clock.
struct DueRange {
  /// Records that this broker wrote and that are due soon, if there are not too many (records.cpp).
  std::map<std::pair<std::int64_t, Place>, RecordHead> scheduled;  ///< by due time
  /// How far the walk over the records that only the store knows has come.
  DueCursor cursor;
  /// No unloaded record is due before this; the largest value: none is known.
  std::int64_t walk_next_us = 0;
  /// The walk has looked at records that were not due, and rests until then.
  std::int64_t walk_rests_until_us = 0;
  /// Nothing of this range is due before this.
  std::int64_t next_us = 0;

  /// A record with this due time exists now: the walk must reach it.
  void expect(std::int64_t due_us) {
    walk_next_us = std::min(walk_next_us, due_us);
    next_us = std::min(next_us, due_us);
    if (cursor.bucket_us >= due_bucket(due_us)) cursor = {due_bucket(due_us), 0, 0};
  }
};

struct Worker;

struct Queue {
  QueueId id{};
  std::string name;
  QueuePolicy policy;
  bool in_file = false;
  v1::QueueState state;        ///< totals and reservations, as stored
  std::uint64_t changed_in{};  ///< the last batch that brings a change of it
  SegmentNumber next_segment = 1;
  SegmentNumber found_up_to{};  ///< segments that the start found are at or below this
  std::array<LaneState, lanes_most> lanes;
  /// The lanes that have had a segment since the start, as bits. Most queues use one, and the others are not looked at.
  std::uint16_t used_lanes{};
  std::size_t hidden{};  ///< segments that are not on disk, and have not appeared in their lanes ahead of that

  /// All messages that are not gone or dead, from the moment that they were taken.
  Load live;
  Messages records;  ///< of these, those with a record of their own
  Messages dead;
  Messages dead_untold;  ///< dead letters that the log has not told yet
  Place dead_untold_first;
  Messages damaged;                        ///< set aside (damaged.cpp)
  Messages damaged_untold;                 ///< damaged messages that the log has not told yet
  std::vector<std::string> damaged_named;  ///< names of damaged values that the log has not told yet

  /// Records that are due and not leased, and that any worker may have.
  std::deque<RecordHead> ready_records;
  /// Suspects that are due and not leased; the kinds that are tried first come first. No deque is empty.
  std::map<v1::Suspicion, std::deque<RecordHead>, std::greater<>> suspects;
  /// Every record that memory knows: ready, scheduled, leased, or with a new fate not yet committed. A walk over due
  /// records leaves these out.
  Places loaded;
  std::array<DueRange, due_clocks.size()> due_ranges;
  [[nodiscard]] DueRange& due(DueBy by) { return due_ranges[static_cast<std::size_t>(by)]; }
  [[nodiscard]] const DueRange& due(DueBy by) const { return due_ranges[static_cast<std::size_t>(by)]; }

  std::vector<Worker*> attached;
  std::size_t turn = 0;  ///< the worker whose turn it is to be sent something
  /// One message after the other is watched from its delivery to its end (holding.cpp): so many in a row were slow.
  unsigned slow_in_a_row = 0;
  bool was_quick = false;  ///< since the start, a watched message ended in time
  struct Watched {
    SegmentKey key;
    std::uint32_t index{};
    Instant since;
  };
  std::optional<Watched> watched;
  Instant handed_at;  ///< when messages of its segments were last delivered
  std::optional<Instant> paused_until;
  std::map<PublisherId, PublisherWindow> windows;
  Load unanswered;          ///< the sum of their `outstanding`
  PublisherId window_turn;  ///< the publisher that was given room last
  Instant shared_at;        ///< when its room was last shared
  std::map<std::string, Instant> unknown_since;
  std::optional<Place> dead_walk;  ///< where the walk over old dead letters stands

  LaneState& use(Lane lane) {
    used_lanes = static_cast<std::uint16_t>(used_lanes | 1U << lane);
    return lanes[lane];
  }
  void ready(RecordHead head, bool first) {
    auto& heads = head.suspicion == v1::UNSUSPECTED ? ready_records : suspects[head.suspicion];
    first ? heads.push_front(std::move(head)) : heads.push_back(std::move(head));
  }
};

/// The highest of these lanes, which is taken out of them. `lanes`: as Queue::used_lanes, not 0.
inline Lane take_highest(std::uint16_t& lanes) {
  const auto lane = static_cast<Lane>(std::bit_width(lanes) - 1);
  lanes = static_cast<std::uint16_t>(lanes & ~(1U << lane));
  return lane;
}

/// The segment, which must be there.
inline Segment& find_segment(Queue& queue, const SegmentKey& key) {
  return queue.lanes[key.lane].segments.at(key.segment);
}

/// By id, not by address: a run of the simulator must not depend on where the heap puts things.
struct ById {
  bool operator()(const Queue* a, const Queue* b) const { return a->id < b->id; }
};
using QueueSet = boost::container::flat_set<Queue*, ById>;

}  // namespace weir::broker::core
