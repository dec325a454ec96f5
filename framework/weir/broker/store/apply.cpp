#include "weir/broker/store/apply.hpp"

#include <algorithm>

#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/pages.hpp"
#include "weir/broker/store/values.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker {
namespace {

[[noreturn]] void throw_missing(const char* what, const Place& place) {
  throw StoreBroken(std::string(what) + ' ' + print_id(std::to_string(place.queue), place.segment, place.index) +
                    " was to be moved, and is not in the store: report this as a defect of Weir");
}

core::Bits without(core::Bits all, const core::Bits& some) {
  for (std::uint32_t i = some.next_set(0); i < core::Bits::size; i = some.next_set(i + 1)) all.clear(i);
  return all;
}

}  // namespace

void Apply::put_message(MDB_dbi database, std::string_view key, const google::protobuf::MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  char* const out = lmdb::reserve(txn_, database, key, size + sums::plain_bytes);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out));
  sums::seal(key, out, size);
}

void Apply::operator()(const core::PutSegment& write) {
  const auto key = layout::key_of(write.key);
  encoder_.write(write, lmdb::reserve(txn_, databases_.segments, key.view(), encoder_.size(write)));
  write.make_head(head_);
  put_message(databases_.heads, key.view(), head_);
  if (opened_.key == write.key) opened_.valid = false;
}

void Apply::operator()(const core::PutSettled& write) {
  const auto key = layout::key_of(write.key);
  if (!read_head(write.key)) return;
  const auto kept = kept_.find(write.key);
  if (kept == kept_.end()) {
    head_.set_settled(write.settled);
  } else {
    head_.set_settled(without(core::Bits::from(write.settled), kept->second).bytes(head_.count()));
  }
  put_message(databases_.heads, key.view(), head_);
}

void Apply::operator()(const core::DropSegment& write) {
  const auto key = layout::key_of(write.key);
  if (kept_.contains(write.key)) {  // messages that were to be moved out of it are still in it
    core::Bits all;
    all.set(0, core::Bits::size);
    return (*this)(core::PutSettled{write.key, all.bytes(core::Bits::size)});
  }
  remove(databases_.segments, key.view());
  remove(databases_.heads, key.view());
  if (opened_.key == write.key) opened_.valid = false;
}

void Apply::remove(MDB_dbi database, std::string_view key) {
  const auto stored = lmdb::get(txn_, database, key);
  if (stored && may_be_removed(key.size(), *stored, page_bytes_)) lmdb::remove(txn_, database, key);
}

bool Apply::read_head(const core::SegmentKey& key) {
  const auto bytes = layout::key_of(key);
  const auto stored = lmdb::get(txn_, databases_.heads, bytes.view());
  if (!stored) throw_missing("the head of", {key.queue, key.segment, 0});
  const auto head = sums::open(bytes.view(), *stored);
  if (head && head_.ParseFromArray(head->data(), static_cast<int>(head->size()))) return true;
  const auto segment = values::get_head(txn_, databases_.segments, bytes.view());
  std::int64_t published_at_us = 0;
  v1::Index index;
  if (!segment || protocol::decode(*segment, index, published_at_us).has_error()) return false;
  head_.Clear();
  head_.set_count(static_cast<std::uint32_t>(index.lengths_size()));
  std::uint64_t size = 0;
  for (const std::uint32_t length : index.lengths()) size += length;
  head_.set_bytes(size);
  *head_.mutable_types() = index.types();
  return true;
}

void Apply::put_record(const Place& place, std::string_view body) {
  layout::write_record(place, record_, body, scratch_);
  records_.put(layout::key_of(place).view(), scratch_);
  const auto key = layout::due_key(place, layout::due_by(record_), record_.due_us());
  const auto value = layout::bytes_of({record_.due_us(), static_cast<std::uint32_t>(body.size())});
  layout::Key<value.bytes.size() + sums::plain_bytes> sealed;
  std::copy(value.bytes.begin(), value.bytes.end(), sealed.bytes.begin());
  sums::seal(key.view(), sealed.bytes.data(), value.bytes.size());
  due_.put(key.view(), sealed.view());
}

void Apply::operator()(const core::PutRecord& write) {
  record_ = write.record;
  put_record(write.place, write.body.bytes);
}

bool Apply::open(const core::SegmentKey& key, std::string_view stored) {
  if (opened_.valid && opened_.key == key) return true;
  opened_.valid = false;
  const auto bytes = layout::key_of(key);
  const auto split = sums::open_split(bytes.view(), stored);
  if (!split) return false;
  const auto run = protocol::decode(split->value, opened_.index, opened_.published_at_us);
  if (!run) throw StoreBroken("the store is damaged: " + run.error().message);
  opened_.run_at = static_cast<std::size_t>(run->data() - stored.data());
  opened_.offsets.assign(1, 0);
  for (const std::uint32_t length : opened_.index.lengths()) {
    opened_.offsets.push_back(opened_.offsets.back() + length);
  }
  if (opened_.offsets.back() != run->size()) {
    throw StoreBroken("the store is damaged: lengths of segment " + std::to_string(key.segment) + " of queue " +
                      std::to_string(key.queue) + " do not fit its run");
  }
  opened_.key = key;
  opened_.valid = true;
  return true;
}

bool Apply::read_from_segment(const core::MoveMessage& move) {
  const core::SegmentKey key{move.place.queue, move.lane, move.place.segment};
  const auto stored = segments_.get(layout::key_of(key).view());
  if (!stored || !open(key, *stored)) {
    kept_[key].set(move.place.index);
    return false;
  }
  const v1::Index& index = opened_.index;
  const std::size_t i = move.place.index;
  const int column = static_cast<int>(i);
  if (i + 1 >= opened_.offsets.size()) throw_missing("message", move.place);
  record_.Clear();
  record_.set_type(index.types(index.type_of().empty() ? 0 : static_cast<int>(index.type_of(column))));
  if (!index.key().empty()) record_.set_key(index.key(column));
  if (!index.unique_id().empty()) record_.set_unique_id(index.unique_id(column));
  // RULE: names_are_stored
  protocol::put_name(protocol::name_at(index.names(), move.place.index), *record_.mutable_name());
  record_.set_priority(move.lane);
  record_.set_published_at_us(opened_.published_at_us);
  // A copy: the next write of this transaction may move the bytes that `stored` looks at.
  body_ = stored->substr(opened_.run_at + opened_.offsets[i], opened_.offsets[i + 1] - opened_.offsets[i]);
  return true;
}

bool Apply::take_record(const Place& place) {
  const auto key = layout::key_of(place);
  const auto stored = records_.get(key.view());
  const auto split = stored ? sums::open_split(key.view(), *stored) : std::nullopt;
  if (!split || !may_be_removed(key.view().size(), *stored, page_bytes_)) return false;
  body_ = layout::read_record(split->value, place, record_);
  due_.remove(layout::due_key(place, layout::due_by(record_), record_.due_us()).view());
  records_.remove(key.view());
  return true;
}

void Apply::operator()(const core::MoveMessage& write) {
  const bool in_segment = write.source == core::Source::segment;
  if (!(in_segment ? read_from_segment(write) : take_record(write.place))) {
    const auto of = in_segment ? core::Damage::Of::segment : core::Damage::Of::record;
    damaged_.push_back({of, {write.place.queue, write.lane, write.place.segment}, write.place.index, write.dead});
    return;
  }
  record_.set_attempts(write.attempts);
  record_.set_incarnation(write.lease.incarnation);
  record_.set_lease(write.lease.counter);
  record_.set_suspicion(write.suspicion);
  if (write.attempt) write.attempt->append_to(record_);
  record_.set_due_us(write.dead ? 0 : write.at_us);
  record_.set_by_wall(false);
  record_.set_dead_since_us(write.dead ? write.at_us : 0);
  if (!write.dead) {
    put_record(write.place, body_);
    return;
  }
  layout::write_record(write.place, record_, body_, scratch_);
  lmdb::put(txn_, databases_.dead, layout::key_of(write.place).view(), scratch_);
}

void Apply::operator()(const core::DropRecord& write) {
  const auto key = layout::key_of(write.place);
  if (!due_.remove(layout::due_key(write.place, write.due_by, write.due_us).view())) {
    const auto stored = records_.get(key.view());
    const auto split = stored ? sums::open_head(key.view(), *stored) : std::nullopt;
    if (!split) return;  // gone; or damaged, and so is the way to its due key: it is set aside when it is due
    layout::read_record(split->value, write.place, record_);
    due_.remove(layout::due_key(write.place, layout::due_by(record_), record_.due_us()).view());
  }
  const auto stored = records_.get(key.view());
  if (stored && may_be_removed(key.view().size(), *stored, page_bytes_)) records_.remove(key.view());
}

void Apply::operator()(const core::ReplayDead& write) {
  const auto key = layout::key_of(write.place);
  const auto stored = lmdb::get(txn_, databases_.dead, key.view());
  if (!stored) return;  // two operators may ask for the same one
  const auto split = sums::open_split(key.view(), *stored);
  if (!split || !may_be_removed(key.view().size(), *stored, page_bytes_)) {
    damaged_.push_back({core::Damage::Of::dead, {write.place.queue, 0, write.place.segment}, write.place.index, false});
    return;
  }
  body_ = layout::read_record(split->value, write.place, record_);
  record_.set_attempts(0);
  core::append_replay(write.due_us, record_);
  record_.set_dead_since_us(0);
  record_.set_due_us(write.due_us);
  record_.set_by_wall(false);
  put_record(write.place, body_);
  remove(databases_.dead, key.view());
}

void Apply::operator()(const core::DropDead& write) { remove(databases_.dead, layout::key_of(write.place).view()); }

void Apply::operator()(const core::NoteSession& write) {
  put_message(databases_.sessions, layout::key_of(write.token, write.shard).view(), write.note);
}

void Apply::operator()(const core::ForgetSession& write) {
  lmdb::remove(txn_, databases_.sessions, layout::key_of(write.token, write.shard).view());
}

void Apply::operator()(const core::PutPublisher& write) {
  put_message(databases_.publishers, write.publisher.view(), write.mark);
}

void Apply::operator()(const core::DropPublisher& write) {
  lmdb::remove(txn_, databases_.publishers, write.publisher.view());
}

void Apply::operator()(const core::PutQueue& write) {
  put_message(databases_.queues, layout::key_of(write.queue).view(), write.state);
}

}  // namespace weir::broker
