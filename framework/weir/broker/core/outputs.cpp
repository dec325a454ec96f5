// Outputs: messages that handlers published, taken with the acks that they leave with, and named after their sources.
#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "weir/broker/core/names.hpp"
#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {

LeaseRun* find_open(Worker& worker, std::uint64_t lease, std::uint32_t& offset) {
  auto at = worker.leases.upper_bound(lease);
  if (at == worker.leases.begin()) return nullptr;
  --at;
  if (lease - at->first >= at->second.count) return nullptr;
  offset = static_cast<std::uint32_t>(lease - at->first);
  return at->second.open.test(offset) ? &at->second : nullptr;
}

namespace {

Lane lane_of(const v1::Group& group) {
  return group.has_priority() ? static_cast<Lane>(group.priority()) : default_lane;
}

std::size_t run_size(const v1::Group& group) {
  std::size_t bytes = 0;
  for (const auto length : group.index().lengths()) bytes += length;
  return bytes;
}

/// Counts, for each message of a frame, how many its lease published to the same lane before it.
class Ordinals {
 public:
  explicit Ordinals(const v1::Settle& settle) {
    for (const auto& group : settle.outputs()) {
      auto& [last, ordinal] = lanes_[{group.queue(), lane_of(group)}];
      for (const auto lease : group.source()) {
        in_order_ = in_order_ && lease >= last;
        last = lease;
      }
    }
    for (auto& [lane, at] : lanes_) at = {};
  }
  /// Call it for the messages one after the other.
  [[nodiscard]] std::uint32_t next(QueueId queue, Lane lane, std::uint64_t lease) {
    if (!in_order_) return counted_[{queue, lane, lease}]++;
    auto& [last, ordinal] = lanes_[{queue, lane}];
    ordinal = lease == last ? ordinal + 1 : 0;
    last = lease;
    return ordinal;
  }

 private:
  bool in_order_ = true;  ///< as a worker sends them: the messages of one lease are together
  std::map<std::pair<QueueId, Lane>, std::pair<std::uint64_t, std::uint32_t>> lanes_;
  boost::unordered_flat_map<std::tuple<QueueId, Lane, std::uint64_t>, std::uint32_t> counted_;
};

/// If the store does not have the name any more as it was written, the message is named by its place instead.
MessageName name_of(State& state, LeaseRun& run, std::uint32_t offset) {
  const Place place{run.key.queue, run.key.segment, run.first + offset};
  if (run.source == Source::record) {
    if (!run.record->name) {
      const auto stored = state.store.snapshot()->record_head(place);
      run.record->name = stored && stored->name ? *stored->name : name_of_place(place);
    }
    return *run.record->name;
  }
  Segment& segment = segment_of(*state.find_queue(run.key.queue), run);
  return load_names(state, run.key, segment) ? segment.names.at(place.index) : name_of_place(place);
}

/// Why a group cannot be taken; empty if it can.
std::string wrong_with(const State& state, const v1::Group& group, const Queue* queue, std::size_t bytes,
                       std::size_t bytes_left) {
  if (bytes > bytes_left) return "outputs: the lengths go beyond the run";
  const auto checked = protocol::check(group.index(), bytes, state.config.message_most);
  if (checked.has_error()) return "outputs: " + checked.error().message;
  if (group.index().names_size() > 0) return "outputs: `names` are the broker's to give: leave them out";
  if (queue == nullptr || !queue->in_file) return "outputs: unknown queue id " + std::to_string(group.queue());
  if (group.source_size() != group.index().lengths_size() || (group.has_priority() && group.priority() >= lanes_most)) {
    return "outputs: `source` must name a lease for each message, priority is 0 to 9";
  }
  return {};
}

/// Those of the group's messages that leave.
struct Leaving {
  const v1::Group& group;
  const Slice& run;
  NameRuns names;
  std::vector<std::uint32_t> indexes;  ///< in the group
};

/// The leases whose outputs cannot be taken: they are answered, and keep their deliveries.
std::set<std::uint64_t> exclude(State& state, const v1::Settle& settle, const Slice& run, v1::Settled& settled) {
  std::set<std::uint64_t> excluded;
  std::size_t at = 0;
  for (const auto& group : settle.outputs()) {
    const std::size_t bytes = run_size(group);
    const std::string wrong = wrong_with(state, group, state.find_queue(group.queue()), bytes, run.bytes.size() - at);
    at += std::min(bytes, run.bytes.size() - at);
    if (wrong.empty() && state.room) continue;
    for (const auto lease : group.source()) {
      if (!excluded.insert(lease).second) continue;
      answer(settled, lease, 1, wrong.empty() ? v1::Settled::STORE_FULL : v1::Settled::REFUSED,
             wrong.empty() ? "the store is low on room; settle it again later" : wrong);
    }
  }
  return excluded;
}

/// Takes the outputs that leave one by one: those of a stale ack do not leave.
void take_each(State& state, Now now, Queue& queue, const Leaving& leaving) {
  const v1::Index& index = leaving.group.index();
  std::size_t at = 0;
  std::uint32_t i = 0;
  auto named = leaving.names.begin();
  std::uint32_t used = 0;  // of that run
  for (const std::uint32_t wanted : leaving.indexes) {
    for (; i < wanted; ++i) at += index.lengths(static_cast<int>(i));
    if (used == named->count) {
      ++named;
      used = 0;
    }
    const NameRun name{named->publisher, named->first + used++, 1};
    v1::Index one;
    protocol::slice(index, i, 1, one);
    const Slice body = leaving.run.sub(at, index.lengths(static_cast<int>(i)));
    take_group(state, now, queue, {lane_of(leaving.group), one, {&name, 1}, body});
  }
}

}  // namespace

std::optional<std::uint64_t> output_without_ack(const v1::Settle& settle) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> acked;  // [first, end)
  for (const auto& run : settle.runs()) {
    if (run.outcome() == v1::ACK) acked.emplace_back(run.lease(), run.lease() + run.count());
  }
  std::sort(acked.begin(), acked.end());
  for (const auto& group : settle.outputs()) {
    for (const auto lease : group.source()) {
      const auto after = std::upper_bound(acked.begin(), acked.end(), std::pair{lease, ~std::uint64_t{0}});
      if (after == acked.begin() || std::prev(after)->second <= lease) return lease;
    }
  }
  return std::nullopt;
}

std::set<std::uint64_t> take_outputs(State& state, Now now, Worker& worker, const v1::Settle& settle, const Slice& run,
                                     v1::Settled& settled) {
  const std::set<std::uint64_t> excluded = exclude(state, settle, run, settled);
  Ordinals ordinals(settle);
  std::size_t at = 0;
  for (const auto& group : settle.outputs()) {
    const std::size_t bytes = std::min(run_size(group), run.bytes.size() - at);
    const Slice its_run = run.sub(at, bytes);
    at += bytes;
    Queue* queue = state.find_queue(group.queue());
    if (queue == nullptr) continue;  // all leases of the group are excluded
    const Lane lane = lane_of(group);
    OutputNames names(queue->name, lane);
    Leaving leaving{group, its_run, {}, {}};
    for (int i = 0; i < group.source_size(); ++i) {
      const std::uint64_t lease = group.source(i);
      const std::uint32_t ordinal = ordinals.next(group.queue(), lane, lease);
      std::uint32_t offset = 0;
      LeaseRun* held = find_open(worker, lease, offset);
      if (held == nullptr) continue;
      if (state.runs_ahead && held->source == Source::segment) bears_outputs(state, held->key);
      if (excluded.contains(lease)) continue;
      // RULE: outputs_are_named_after_their_source
      const MessageName name = names.of(name_of(state, *held, offset), ordinal);
      append({name.publisher, name.number, 1}, leaving.names);
      leaving.indexes.push_back(static_cast<std::uint32_t>(i));
    }
    if (leaving.indexes.size() == static_cast<std::size_t>(group.source_size())) {
      if (!leaving.indexes.empty()) take_group(state, now, *queue, {lane, group.index(), leaving.names, its_run});
    } else {
      take_each(state, now, *queue, leaving);
    }
  }
  return excluded;
}

}  // namespace weir::broker::core
