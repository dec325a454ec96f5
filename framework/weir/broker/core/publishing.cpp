// Publishing: groups taken, publisher marks.
#include <algorithm>
#include <limits>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker::core {
namespace {

/// Segment numbers are reserved this far ahead of use: a place that was ever seen is never given again.
constexpr SegmentNumber reservation_step = 4096;

std::size_t bytes_of(const v1::Index& index) {
  std::size_t bytes = 0;
  for (const auto length : index.lengths()) bytes += length;
  return bytes;
}

/// Answers messages that were answered before. At or below the committed mark they are refused if listed there, else
/// confirmed. Above it, those that were confirmed unwritten are confirmed again. The rest is answered at its commit.
void answer_again(State& state, const Publisher& publisher, std::uint64_t first, std::uint64_t last, Actions& actions) {
  v1::Frame frame;
  auto& runs = *frame.mutable_confirmed()->mutable_runs();
  const auto add = [&](std::uint64_t from, std::uint64_t to, bool refused) {
    auto* run = runs.Add();
    run->set_first(from);
    run->set_count(static_cast<std::uint32_t>(to - from + 1));
    if (refused) {
      run->set_answer(v1::Confirmed::REFUSED);
      run->set_reason("refused before");
    }
  };
  std::uint64_t at = first;
  // RULE: answered_again_up_to_the_committed_mark
  const std::uint64_t written = std::min(last, publisher.committed);
  for (const auto& range : publisher.mark.refused()) {
    // One range may go on with messages that are refused and not committed yet: these are answered at their commit.
    if (range.last() < at || std::max(range.first(), at) > written) continue;
    if (range.first() > at) add(at, range.first() - 1, false);
    const std::uint64_t end = std::min(range.last(), written);
    add(std::max(range.first(), at), end, true);
    at = end + 1;
  }
  if (at <= written) add(at, written, false);
  for (const auto& [from, to] : publisher.elided) {
    const std::uint64_t begin = std::max({from, first, publisher.committed + 1});
    if (begin <= std::min(to, last)) add(begin, std::min(to, last), false);
  }
  if (runs.empty()) return;
  send(state, publisher.connection, std::move(frame), actions);
}

struct Due {
  std::int64_t us{};
  DueBy by{};
};

/// When message `column` is due. If it has a delay and a time, the later one counts, by what both clocks show now.
Due due_of(const State& state, Now now, const v1::Index& index, int column) {
  constexpr std::int64_t never = std::int64_t{1} << 62;
  const std::int64_t clock = state.clock_us(now.instant);
  std::int64_t delay_us = 0;
  if (index.delay_us_size() > 0) {
    delay_us = static_cast<std::int64_t>(std::min<std::uint64_t>(index.delay_us(column), never / 2));
  }
  // RULE: wall_time_is_due_by_the_wall_clock
  if (index.deliver_at_us_size() > 0) {
    const std::int64_t at_us = std::clamp<std::int64_t>(index.deliver_at_us(column), 0, never);
    if (at_us - micros(now.wall) > delay_us) return {at_us, DueBy::wall};
  }
  return {clock + delay_us, DueBy::broker};
}

bool has_delays(const v1::Index& index) { return index.delay_us_size() > 0 || index.deliver_at_us_size() > 0; }

void forget_heard(v1::PublisherMark& mark, std::uint64_t answered_below) {
  auto& ranges = *mark.mutable_refused();
  int kept = 0;
  for (int i = 0; i < ranges.size(); ++i) {
    if (ranges.Get(i).last() < answered_below) continue;
    if (kept != i) ranges.SwapElements(kept, i);
    ++kept;
  }
  ranges.DeleteSubrange(kept, ranges.size() - kept);
}

/// Neighbours become one range: a publisher that is refused again and again must not make its mark long.
void note_refused(v1::PublisherMark& mark, std::uint64_t first, std::uint64_t last) {
  const int n = mark.refused_size();
  if (n > 0 && mark.refused(n - 1).last() + 1 == first) {
    mark.mutable_refused(n - 1)->set_last(last);
    return;
  }
  auto* range = mark.add_refused();
  range->set_first(first);
  range->set_last(last);
}

/// The publisher's window in that queue, if the group is within it; nullptr: the session has ended.
PublisherWindow* window_for(Turn& turn, Client& client, Queue& queue, const v1::Group& group, Load load) {
  Publisher& publisher = *client.publisher;
  auto window = queue.windows.find(publisher.id);
  if (window == queue.windows.end()) {
    if (!queue.in_file) {
      refuse(turn, client.connection, v1::Error::UNKNOWN_QUEUE,
             "queue '" + queue.name + "' is not in the broker's file any more; it takes no publishes");
      return nullptr;
    }
    open_window(turn.state, queue, publisher);
    window = queue.windows.find(publisher.id);
  }
  PublisherWindow& open = window->second;
  // RULE: resend_needs_no_credit
  if (group.epoch() >= open.first_epoch) {
    window_seen(turn.state, queue, publisher, group.epoch(), turn.actions);
    const std::uint64_t n = load.messages.value;
    const bool alone = open.outstanding.messages.value == 0 && n == 1;
    if (open.outstanding.messages.value + n > open.effective.messages.value ||
        (!alone && open.outstanding.bytes + load.bytes > open.effective.bytes)) {
      refuse(turn, client.connection, v1::Error::WINDOW_BROKEN,
             "PUBLISH of " + std::to_string(n) + " messages to queue '" + queue.name +
                 "': " + std::to_string(open.outstanding.messages.value) + " are unanswered and the window is " +
                 std::to_string(open.effective.messages.value) + " messages, " +
                 std::to_string(open.effective.bytes.value) + " bytes");
      return nullptr;
    }
  }
  return &open;
}

/// Takes one group that was checked, with its run. False: the session has ended.
bool take(Turn& turn, Client& client, const v1::Group& group, Queue& queue, const Slice& run) {
  Publisher& publisher = *client.publisher;
  const auto n = static_cast<std::uint64_t>(group.index().lengths_size());
  const std::uint64_t first = group.first_number();
  const std::uint64_t last = first + n - 1;
  if (first <= client.numbered) {
    // Below the mark it would be taken for a message that is there already, and confirmed.
    refuse(turn, client.connection, v1::Error::MALFORMED,
           "PUBLISH: message " + std::to_string(first) + " came after " + std::to_string(client.numbered) +
               "; in a session numbers go up, also of what is sent again");
    return false;
  }
  client.numbered = last;
  // RULE: resend_is_not_stored_again
  if (last <= publisher.taken) {  // sent again
    answer_again(turn.state, publisher, first, last, turn.actions);
    return true;
  }
  if (first <= publisher.taken) {
    refuse(turn, client.connection, v1::Error::MALFORMED,
           "PUBLISH: messages " + std::to_string(first) + " to " + std::to_string(last) + " of queue '" + queue.name +
               "' overlap with what was taken, up to " + std::to_string(publisher.taken));
    return false;
  }
  const Load load{Messages{n}, Bytes{run.bytes.size()}};
  PublisherWindow* const window = window_for(turn, client, queue, group, load);
  if (window == nullptr) return false;
  Answer answer{publisher.id, first, static_cast<std::uint32_t>(n), run.bytes.size(), {}, queue.id, {}};
  answer.refused = why_not(turn.state, queue, n, run.bytes.size());
  window->outstanding += load;
  queue.unanswered += load;
  window->used = true;
  publisher.taken = last;
  // RULE: publisher_has_a_mark
  publisher.mark.set_mark(last);
  if (answer.refused.empty()) {
    const Lane lane = group.has_priority() ? static_cast<Lane>(group.priority()) : default_lane;
    // RULE: name_is_publisher_and_number
    const NameRun names{publisher.id, first, static_cast<std::uint32_t>(n)};
    const TakenGroup taken = take_group(turn.state, turn.now, queue, {lane, group.index(), {&names, 1}, run});
    answer.place = taken.place;
    if (taken.segment != nullptr) {
      taken.segment->answers.push_back(std::move(answer));
      return true;
    }
  } else {
    note_refused(publisher.mark, first, last);
  }
  turn.state.gathering.answers.push_back(std::move(answer));
  return true;
}

/// The estimated cost of taking a group, in nanoseconds.
std::int64_t cost_of(const v1::Index& index) {
  constexpr std::int64_t group_ns = 800;
  constexpr std::int64_t message_ns = 10;
  constexpr std::int64_t record_ns = 1'500;
  return group_ns + index.lengths_size() * (has_delays(index) ? record_ns : message_ns);
}

/// Takes groups, which were checked, from `number` on until the effort is spent; `at` is where the messages of the next
/// one lie. True: all were taken, or the session has ended.
bool take_groups(Turn& turn, Client& client, const v1::Publish& publish, const Slice& run, int& number,
                 std::size_t& at) {
  // A commit may have been sealed since the groups before these were taken.
  const PublisherId id = client.publisher->id;
  client.publisher->dirty = true;
  turn.state.gathering.publishers.insert(id);
  QueueSet ahead;
  for (; number < publish.groups_size() && !turn.state.effort.spent(); ++number) {
    const v1::Group& group = publish.groups(number);
    const std::size_t bytes = bytes_of(group.index());
    Queue& queue = *turn.state.find_queue(group.queue());
    if (!take(turn, client, group, queue, run.sub(at, bytes))) return true;
    turn.state.effort.spend(cost_of(group.index()));
    if (queue.policy.ahead) ahead.insert(&queue);
    at += bytes;
  }
  const bool all = number == publish.groups_size();
  dispatch(turn, ahead);
  return all;
}

/// The rest of a publish frame.
class Publishing final : public Work {
 public:
  Publishing(Connection connection, v1::Publish publish, Slice run, int number, std::size_t at)
      : connection_(connection), publish_(std::move(publish)), run_(std::move(run)), number_(number), at_(at) {}

  bool go_on(Turn& turn) override {
    Client* client = turn.state.find_client(connection_);
    if (client == nullptr || client->publisher == nullptr) return true;
    return take_groups(turn, *client, publish_, run_, number_, at_);
  }

 private:
  Connection connection_{};
  v1::Publish publish_;
  Slice run_;
  int number_ = 0;
  std::size_t at_ = 0;
};

}  // namespace

std::string why_not(const State&, const Queue& queue, std::uint64_t messages, std::uint64_t bytes) {
  if (!queue.in_file) return "queue '" + queue.name + "' is not in the broker's file any more";
  const QueueLimit& most = queue.policy.most;
  if (most.on_full == OnFull::refuse) {
    if (most.messages && queue.live.messages.value + messages > most.messages->value) {
      return "queue '" + queue.name + "' has no room for " + std::to_string(messages) + " more: it holds " +
             std::to_string(queue.live.messages.value) + " of at most " + std::to_string(most.messages->value) +
             " messages";
    }
    if (most.bytes && queue.live.bytes.value + bytes > most.bytes->value) {
      return "queue '" + queue.name + "' has no room for " + std::to_string(bytes) + " bytes more: it holds " +
             std::to_string(queue.live.bytes.value) + " of at most " + std::to_string(most.bytes->value) + " bytes";
    }
  }
  const DeadPolicy& dead = queue.policy.dead;
  // RULE: full_of_dead_letters_refuses
  if (dead.most && dead.on_full == OnDeadFull::refuse && queue.dead >= *dead.most) {
    return "queue '" + queue.name + "' has " + std::to_string(queue.dead.value) +
           " dead letters, which is its most; look at them (weir dead list " + queue.name + "), then replay or purge";
  }
  return {};
}

void on_publish(Turn& turn, Client& client, const v1::Publish& publish, const Slice& run) {
  // All of the frame is checked before any of it is taken.
  std::size_t at = 0;
  std::size_t number = 0;
  for (const auto& group : publish.groups()) {
    ++number;
    const std::string which = "PUBLISH: group " + std::to_string(number) + ": ";
    const std::size_t bytes = bytes_of(group.index());
    if (bytes > run.bytes.size() - at) {
      return refuse(turn, client.connection, v1::Error::MALFORMED, which + "its lengths go beyond the run");
    }
    if (const auto checked = protocol::check(group.index(), bytes, turn.state.config.message_most);
        checked.has_error()) {
      return refuse(turn, client.connection, checked.error().code, which + checked.error().message);
    }
    if (group.index().names_size() > 0) {
      return refuse(turn, client.connection, v1::Error::MALFORMED,
                    which + "`names` are the broker's to give: leave them out");
    }
    if (turn.state.find_queue(group.queue()) == nullptr) {
      return refuse(turn, client.connection, v1::Error::UNKNOWN_QUEUE,
                    which + "unknown queue id " + std::to_string(group.queue()));
    }
    if (group.has_priority() && group.priority() >= lanes_most) {
      return refuse(turn, client.connection, v1::Error::MALFORMED,
                    which + "priority " + std::to_string(group.priority()) + " is not 0 to 9");
    }
    // The last number must be a number too, and have one behind it: names are ranges, of a first number and a count.
    const auto n = static_cast<std::uint64_t>(group.index().lengths_size());
    if (group.first_number() == 0 || group.first_number() > std::numeric_limits<std::uint64_t>::max() - n) {
      return refuse(turn, client.connection, v1::Error::MALFORMED,
                    which + "first_number " + std::to_string(group.first_number()) + " of " + std::to_string(n) +
                        " messages; numbers go from 1 to 18446744073709551614");
    }
    at += bytes;
  }
  if (at != run.bytes.size()) {
    return refuse(
        turn, client.connection, v1::Error::MALFORMED,
        "PUBLISH: the run has " + std::to_string(run.bytes.size()) + " bytes, the groups " + std::to_string(at));
  }
  forget_heard(client.publisher->mark, publish.answered_below());
  client.publisher->in_doubt = false;  // it publishes, so it has heard its WELCOME
  at = 0;
  int first = 0;
  if (take_groups(turn, client, publish, run, first, at)) return;
  begin_work(turn.state, client, std::make_unique<Publishing>(client.connection, publish, run, first, at));
}

namespace {

using OpenSegments = std::map<SegmentKey, OpenSegment>;

/// Small frames of one commit share a segment. Returns where the group is in it, if it has room. `at`: behind the last
/// segment of the lane.
std::optional<TakenGroup> join_segment(const Queue& queue, const Incoming& group, OpenSegments& segments,
                                       OpenSegments::iterator at) {
  if (at == segments.begin()) return std::nullopt;
  auto& [key, open] = *std::prev(at);
  const auto count = static_cast<std::uint32_t>(open.contents->index.lengths_size());
  const auto n = static_cast<std::uint32_t>(group.index.lengths_size());
  const bool fits = key.queue == queue.id && key.lane == group.lane && !open.closed &&
                    count + n <= protocol::segment_messages_most &&
                    open.bytes + group.run.bytes.size() <= protocol::segment_bytes_most;
  if (!fits) return std::nullopt;
  protocol::append(group.index, open.contents->index);
  for (const NameRun& named : group.names) core::append(named, open.contents->names);
  open.contents->run.push_back(group.run);
  open.bytes += group.run.bytes.size();
  return TakenGroup{{queue.id, key.segment, count}, &open};
}

v1::Record delayed_record(Now now, const Incoming& group, int column, Due due) {
  const v1::Index& index = group.index;
  v1::Record record;
  record.set_type(index.types(index.type_of_size() > 0 ? static_cast<int>(index.type_of(column)) : 0));
  if (index.key_size() > 0) record.set_key(index.key(column));
  if (index.unique_id_size() > 0) record.set_unique_id(index.unique_id(column));
  protocol::put_name(protocol::name_at(group.names, static_cast<std::uint32_t>(column)), *record.mutable_name());
  record.set_priority(group.lane);
  record.set_published_at_us(micros(now.wall));
  record.set_due_us(due.us);
  record.set_by_wall(due.by == DueBy::wall);
  return record;
}

/// Messages that are not due yet become records, and are settled in the segment `number`.
void put_delayed(State& state, Now now, Queue& queue, const Incoming& group, SegmentNumber number, OpenSegment& open) {
  const auto n = static_cast<std::uint32_t>(group.index.lengths_size());
  open.closed = true;
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const int column = static_cast<int>(i);
    const std::size_t size = group.index.lengths(column);
    const Due due = due_of(state, now, group.index, column);
    if (due.us > state.time_us(now, due.by)) {
      const Place place{queue.id, number, i};
      state.gathering.writes.emplace_back(
          PutRecord{place, delayed_record(now, group, column, due), group.run.sub(at, size)});
      state.gathering.moved.push_back({place, due.us, due.by});
      queue.loaded.insert(place);
      queue.records += Messages{1};
      open.settled.set(i);
      open.bytes -= size;
    }
    at += size;
  }
}

}  // namespace

TakenGroup take_group(State& state, Now now, Queue& queue, const Incoming& group) {
  const auto& [lane, index, names, run] = group;
  const auto n = static_cast<std::uint32_t>(index.lengths_size());
  queue.live += Load{Messages{n}, Bytes{run.bytes.size()}};
  queue.state.set_published(queue.state.published() + n);
  state.changed(queue);
  const bool delays = has_delays(index);
  OpenSegments& segments = state.gathering.segments;
  const auto behind = segments.upper_bound(SegmentKey{queue.id, lane, ~SegmentNumber{0}});
  if (!delays) {
    if (const auto joined = join_segment(queue, group, segments, behind)) return *joined;
  }
  const SegmentKey key{queue.id, lane, queue.next_segment++};
  if (key.segment > queue.state.segments_reserved()) {
    // RULE: segment_numbers_are_reserved
    queue.state.set_segments_reserved(key.segment + reservation_step);
  }
  OpenSegment open;
  open.since = now.instant;
  open.contents =
      std::make_shared<Contents>(Contents{index, NameRuns(names.begin(), names.end()), {run}, micros(now.wall)});
  open.bytes = run.bytes.size();
  if (delays) {
    put_delayed(state, now, queue, group, key.segment, open);
    if (open.settled.count() == n) return {{queue.id, key.segment, 0}, nullptr};  // all are records: no segment
  }
  const auto at = segments.emplace_hint(behind, key, std::move(open));
  ++queue.hidden;
  state.wake(queue);
  return {{queue.id, key.segment, 0}, delays ? nullptr : &at->second};
}

}  // namespace weir::broker::core
