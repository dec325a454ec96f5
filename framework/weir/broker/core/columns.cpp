// What a segment's columns say: sizes and types of its messages, read from the store when they are needed.
#include <algorithm>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {

namespace {

/// Type of each message by its place in `sorted`, as a head has them: the index's are as they came. False if one is not
/// among them.
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

}  // namespace

bool load(State& state, const SegmentKey& key, Segment& segment) {
  const bool mixed = state.type_sets.types(segment.types).size() > 1;
  if (segment.damaged) return false;
  if (!segment.ends.empty() && (!mixed || !segment.type_of.empty())) return true;
  v1::Index stored;
  if (!segment.ahead) {
    const auto snapshot = state.store.snapshot();
    const auto bytes = snapshot->columns(key);
    std::int64_t published = 0;
    if (!bytes || protocol::decode(*bytes, stored, published).has_error() ||
        static_cast<std::uint32_t>(stored.lengths_size()) != segment.count) {
      set_aside(state, key, segment);
      return false;
    }
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

}  // namespace weir::broker::core
