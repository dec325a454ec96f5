// Columns: they are checked, sliced and joined.
#include <numeric>

#include "weir/protocol/frame.hpp"
#include "weir/protocol/limits.hpp"
#include "weir/protocol/names.hpp"

namespace weir::protocol {
namespace {

/// An empty column means that no message uses it.
bool fits(int column, int messages) { return column == 0 || column == messages; }

template <class Column>
void slice_column(const Column& from, int first, int count, Column& to) {
  to.Clear();
  if (from.empty()) return;
  to.Reserve(count);
  for (int i = first; i < first + count; ++i) *to.Add() = from.Get(i);
}

template <class Value>
void slice_column(const google::protobuf::RepeatedField<Value>& from, int first, int count,
                  google::protobuf::RepeatedField<Value>& to) {
  to.Clear();
  if (!from.empty()) to.Add(from.begin() + first, from.begin() + first + count);
}

/// Appends a column. If one side lacks it, each of its messages gets the default.
template <class Column>
void append_column(const Column& from, int from_size, Column& to, int to_size) {
  if (from.empty() && to.empty()) return;
  if (to.empty()) {
    for (int i = 0; i < to_size; ++i) to.Add();
  }
  if (from.empty()) {
    for (int i = 0; i < from_size; ++i) to.Add();
    return;
  }
  for (const auto& value : from) *to.Add() = value;
}

template <class Value>
void append_column(const google::protobuf::RepeatedField<Value>& from, int from_size,
                   google::protobuf::RepeatedField<Value>& to, int to_size) {
  if (from.empty() && to.empty()) return;
  if (to.empty()) to.Resize(to_size, Value{});
  if (from.empty()) {
    to.Resize(to_size + from_size, Value{});
  } else {
    to.Add(from.begin(), from.end());
  }
}

int type_in(v1::Index& index, const std::string& type) {
  for (int i = 0; i < index.types_size(); ++i) {
    if (index.types(i) == type) return i;
  }
  index.add_types(type);
  return index.types_size() - 1;
}

}  // namespace

Result<void> check(const v1::Index& index, std::size_t run_bytes, Bytes message_most) {
  const int n = index.lengths_size();
  const auto wrong = [](std::string what) { return ProtocolError{v1::Error::MALFORMED, std::move(what)}; };
  const auto large = [](std::string what) { return ProtocolError{v1::Error::TOO_LARGE, std::move(what)}; };
  if (n == 0) return wrong("group without messages: `lengths` is empty");
  if (static_cast<std::uint32_t>(n) > segment_messages_most) {
    return large("group of " + std::to_string(n) + " messages; at most " + std::to_string(segment_messages_most));
  }
  std::uint64_t sum = 0;
  for (const std::uint32_t length : index.lengths()) {
    if (length > message_most.value) {
      return large("message of " + std::to_string(length) + " bytes; at most " + std::to_string(message_most.value) +
                   " (broker.message_most)");
    }
    sum += length;
  }
  if (sum != run_bytes) {
    return wrong("`lengths` sum to " + std::to_string(sum) + " bytes, the run has " + std::to_string(run_bytes));
  }
  if (n > 1 && sum > segment_bytes_most) {
    return large("group of " + std::to_string(n) + " messages and " + std::to_string(sum) + " bytes; at most " +
                 std::to_string(segment_bytes_most) + " unless it is one message");
  }
  if (index.types_size() == 0) return wrong("group without `types`");
  if (index.types_size() > n) return wrong("group with more types than messages");
  if (index.types_size() > 1 && index.type_of_size() != n) return wrong("`type_of` must name the type of each message");
  if (!fits(index.type_of_size(), n) || !fits(index.key_size(), n) || !fits(index.delay_us_size(), n) ||
      !fits(index.ttl_us_size(), n) || !fits(index.deliver_at_us_size(), n) || !fits(index.expires_at_us_size(), n) ||
      !fits(index.unique_id_size(), n)) {
    return wrong("a column has neither 0 nor " + std::to_string(n) + " entries, the size of `lengths`");
  }
  if (index.ttl_us_size() > 0 || index.expires_at_us_size() > 0) {
    return wrong("`ttl_us` and `expires_at_us` are not in this version");
  }
  for (const std::string& type : index.types()) {
    if (type.size() > type_bytes_most) {
      return large("type of " + std::to_string(type.size()) + " bytes; at most " + std::to_string(type_bytes_most));
    }
  }
  for (const auto* column : {&index.key(), &index.unique_id()}) {
    for (const std::string& key : *column) {
      if (key.size() <= key_bytes_most) continue;
      return large("key or unique_id of " + std::to_string(key.size()) + " bytes; at most " +
                   std::to_string(key_bytes_most));
    }
  }
  for (const std::uint32_t type : index.type_of()) {
    if (type >= static_cast<std::uint32_t>(index.types_size())) {
      return wrong("`type_of` names type " + std::to_string(type) + " of " + std::to_string(index.types_size()));
    }
  }
  return {};
}

void slice(const v1::Index& from, std::uint32_t first, std::uint32_t count, v1::Index& to) {
  const int at = static_cast<int>(first);
  const int n = static_cast<int>(count);
  slice_column(from.lengths(), at, n, *to.mutable_lengths());
  slice_column(from.key(), at, n, *to.mutable_key());
  slice_column(from.delay_us(), at, n, *to.mutable_delay_us());
  slice_column(from.ttl_us(), at, n, *to.mutable_ttl_us());
  slice_column(from.deliver_at_us(), at, n, *to.mutable_deliver_at_us());
  slice_column(from.expires_at_us(), at, n, *to.mutable_expires_at_us());
  slice_column(from.unique_id(), at, n, *to.mutable_unique_id());
  to.clear_names();
  slice_names(from.names(), first, count, *to.mutable_names());
  to.clear_types();
  to.clear_type_of();
  if (from.type_of().empty()) {
    *to.mutable_types() = from.types();
    return;
  }
  for (int i = at; i < at + n; ++i) {
    to.add_type_of(static_cast<std::uint32_t>(type_in(to, from.types(static_cast<int>(from.type_of(i))))));
  }
  if (to.types_size() == 1) to.clear_type_of();
}

void append(const v1::Index& from, v1::Index& to) {
  const int to_size = to.lengths_size();
  const int from_size = from.lengths_size();
  const bool same_single =
      from.types_size() == 1 && (to_size == 0 || (to.types_size() == 1 && to.types(0) == from.types(0)));
  if (same_single) {
    if (to_size == 0) to.add_types(from.types(0));
  } else {
    if (to.type_of().empty()) to.mutable_type_of()->Resize(to_size, 0);
    for (int i = 0; i < from_size; ++i) {
      const int type = from.type_of().empty() ? 0 : static_cast<int>(from.type_of(i));
      to.add_type_of(static_cast<std::uint32_t>(type_in(to, from.types(type))));
    }
    if (to.types_size() == 1) to.clear_type_of();
  }
  append_column(from.key(), from_size, *to.mutable_key(), to_size);
  append_column(from.delay_us(), from_size, *to.mutable_delay_us(), to_size);
  append_column(from.ttl_us(), from_size, *to.mutable_ttl_us(), to_size);
  append_column(from.deliver_at_us(), from_size, *to.mutable_deliver_at_us(), to_size);
  append_column(from.expires_at_us(), from_size, *to.mutable_expires_at_us(), to_size);
  append_column(from.unique_id(), from_size, *to.mutable_unique_id(), to_size);
  slice_names(from.names(), 0, static_cast<std::uint32_t>(from_size), *to.mutable_names());
  to.mutable_lengths()->Add(from.lengths().begin(), from.lengths().end());
}

}  // namespace weir::protocol
