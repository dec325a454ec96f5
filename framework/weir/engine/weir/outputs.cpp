#include "weir/engine/weir/outputs.hpp"

#include <algorithm>

#include "weir/protocol/frame.hpp"

namespace weir::engine::weir_broker {
namespace {

/// Sets entry `n` of a column, which is empty until an entry has a value.
void set_entry(google::protobuf::RepeatedPtrField<std::string>& column, int n, std::string_view value) {
  if (column.empty() && value.empty()) return;
  while (column.size() < n) column.Add();
  column.Add()->assign(value);
}

template <class Value>
void set_entry(google::protobuf::RepeatedField<Value>& column, int n, Value value) {
  if (column.empty() && value == 0) return;
  if (column.empty()) column.Resize(n, 0);
  column.Add(value);
}

void set_type(v1::Index& index, int n, std::string_view type) {
  // The type is nearly always that of the message before.
  int at = index.types_size() - 1;
  if (!index.type_of().empty()) at = static_cast<int>(index.type_of(n - 1));
  if (at < 0 || index.types(at) != type) {
    at = 0;
    while (at < index.types_size() && index.types(at) != type) ++at;
    if (at == index.types_size()) index.add_types(type.data(), type.size());
  }
  if (index.types_size() == 1) return;
  if (index.type_of().empty()) index.mutable_type_of()->Resize(n, 0);
  index.add_type_of(static_cast<std::uint32_t>(at));
}

}  // namespace

std::uint64_t head_bytes(const Output& output) {
  constexpr std::uint64_t columns = 64;
  return columns + output.type.size() + output.key.size() + output.unique_id.size();
}

void append_message(v1::Index& index, const Outgoing& message) {
  const int n = index.lengths_size();
  set_type(index, n, message.type);
  set_entry(*index.mutable_key(), n, message.key);
  set_entry(*index.mutable_unique_id(), n, message.unique_id);
  set_entry(*index.mutable_delay_us(), n, static_cast<std::uint64_t>(std::max(Duration{0}, message.delay).count()));
  set_entry(*index.mutable_deliver_at_us(), n,
            static_cast<std::int64_t>(message.deliver_at ? message.deliver_at->time_since_epoch().count() : 0));
  index.add_lengths(static_cast<std::uint32_t>(message.size().value));
}

Outgoing view_of(const Output& output) {
  return {.queue = output.queue,
          .type = output.type,
          .key = output.key,
          .unique_id = output.unique_id,
          .body = output.body,
          .body_head = {},
          .delay = output.delay,
          .deliver_at = output.deliver_at,
          .priority = output.priority};
}

void Outputs::add(const Output& output, std::uint32_t queue, std::uint64_t lease) {
  // Takes the newest group of the lane, unless it is full. There are few lanes.
  Group* group = nullptr;
  for (auto at = groups_.rbegin(); at != groups_.rend() && group == nullptr; ++at) {
    if (at->head.queue() == queue && at->head.priority() == output.priority) group = &*at;
  }
  if (group != nullptr && (group->bodies.size() >= protocol::segment_messages_most ||
                           group->bytes + output.body.size() > protocol::segment_bytes_most)) {
    group = nullptr;
  }
  if (group == nullptr) {
    group = &groups_.emplace_back();
    group->head.set_queue(queue);
    group->head.set_priority(output.priority);
  }
  append_message(*group->head.mutable_index(), view_of(output));
  group->head.add_source(lease);
  group->bytes += output.body.size();
  group->bodies.push_back(output.body);
}

void Outputs::finish(v1::Settle& settle, std::string& run) {
  for (Group& group : groups_) {
    settle.add_outputs()->Swap(&group.head);
    for (const std::string_view body : group.bodies) run.append(body);
  }
  groups_.clear();
}

}  // namespace weir::engine::weir_broker
