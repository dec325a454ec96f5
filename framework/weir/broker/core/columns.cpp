// A segment's columns: sizes, types and names of its messages, read from the store when they are needed.
#include <algorithm>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {

namespace {

/// Fills in the type of each message as its place in `sorted`, the order of a head: an index has its types as they
/// came. False if a type is not in `sorted`.
bool fill_types(const v1::Index& index, const std::vector<std::string>& sorted, std::vector<std::uint32_t>& type_of) {
  for (const auto type : index.type_of()) {
    const bool known = type < static_cast<std::uint32_t>(index.types_size());
    const auto at =
        known ? std::lower_bound(sorted.begin(), sorted.end(), index.types(static_cast<int>(type))) : sorted.end();
    if (at == sorted.end() || *at != index.types(static_cast<int>(type))) return false;
    type_of.push_back(static_cast<std::uint32_t>(at - sorted.begin()));
  }
  return true;
}

/// Reads the columns from the store. False if they are not there as they were written.
bool read_columns(State& state, const SegmentKey& key, const Segment& segment, v1::Index& index) {
  constexpr std::int64_t read_ns = 4'000;
  state.effort.spend(read_ns);
  const auto snapshot = state.store.snapshot();
  const auto bytes = snapshot->columns(key);
  std::int64_t published = 0;
  return bytes && !protocol::decode(*bytes, index, published).has_error() &&
         static_cast<std::uint32_t>(index.lengths_size()) == segment.count;
}

}  // namespace

bool load(State& state, const SegmentKey& key, Segment& segment) {
  const bool mixed = state.type_sets.types(segment.types).size() > 1;
  if (segment.damaged) return false;
  if (!segment.ends.empty() && (!mixed || !segment.type_of.empty())) return true;
  v1::Index stored;
  if (!segment.ahead && !read_columns(state, key, segment, stored)) {
    set_aside(state, key, segment);
    return false;
  }
  const v1::Index& index = segment.ahead ? segment.ahead->index : stored;
  if (segment.ends.empty()) {
    segment.ends.reserve(segment.count);
    std::uint32_t end = 0;
    for (const auto length : index.lengths()) segment.ends.push_back(end += length);
    ++state.ends_kept;
  }
  if (mixed && !fill_types(index, state.type_sets.types(segment.types), segment.type_of)) {
    segment.type_of.clear();
    set_aside(state, key, segment);
    return false;
  }
  return true;
}

bool load_names(State& state, const SegmentKey& key, Segment& segment) {
  if (!segment.names.empty()) return true;
  if (segment.ahead) {
    segment.names = SegmentNames(segment.ahead->names);
    return true;
  }
  v1::Index stored;
  if (segment.damaged || !read_columns(state, key, segment, stored)) {
    set_aside(state, key, segment);
    return false;
  }
  segment.names = SegmentNames(stored.names());
  return true;
}

}  // namespace weir::broker::core
