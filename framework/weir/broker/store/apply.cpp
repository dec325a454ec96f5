#include "weir/broker/store/apply.hpp"

#include "weir/broker/store/layout.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker {
namespace {

[[noreturn]] void throw_missing(const char* what, const Place& place) {
  throw StoreBroken(std::string(what) + ' ' + print_id(std::to_string(place.queue), place.segment, place.index) +
                    " was to be moved, and is not in the store: report this as a defect of Weir");
}

}  // namespace

void Apply::put_message(MDB_dbi database, std::string_view key, const google::protobuf::MessageLite& message) {
  char* out = lmdb::reserve(txn_, database, key, message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out));
}

void Apply::operator()(const core::PutSegment& write) {
  const auto key = layout::key_of(write.key);
  layout::write_segment(write, lmdb::reserve(txn_, databases_.segments, key.view(), layout::segment_size(write)));
  put_message(databases_.heads, key.view(), write.head);
  if (opened_.key == write.key) opened_.valid = false;
}

void Apply::operator()(const core::PutSettled& write) {
  const auto key = layout::key_of(write.key);
  const auto head = lmdb::get(txn_, databases_.heads, key.view());
  if (!head || !head_.ParseFromArray(head->data(), static_cast<int>(head->size()))) {
    throw_missing("the head of", {write.key.queue, write.key.segment, 0});
  }
  head_.set_settled(write.settled);
  put_message(databases_.heads, key.view(), head_);
}

void Apply::operator()(const core::DropSegment& write) {
  const auto key = layout::key_of(write.key);
  lmdb::remove(txn_, databases_.segments, key.view());
  lmdb::remove(txn_, databases_.heads, key.view());
  if (opened_.key == write.key) opened_.valid = false;
}

void Apply::put_record(const Place& place, std::string_view body) {
  layout::write_record(record_, body, scratch_);
  records_.put(layout::key_of(place).view(), scratch_);
  const auto value = layout::bytes_of({record_.due_us(), static_cast<std::uint32_t>(body.size())});
  due_.put(layout::due_key(place, record_.due_us()).view(), value.view());
}

void Apply::operator()(const core::PutRecord& write) {
  record_ = write.record;
  put_record(write.place, write.body.bytes);
}

void Apply::read_from_segment(const core::MoveMessage& move) {
  const core::SegmentKey key{move.place.queue, move.lane, move.place.segment};
  const auto stored = segments_.get(layout::key_of(key).view());
  if (!stored) throw_missing("message", move.place);
  if (!opened_.valid || opened_.key != key) {
    opened_.valid = false;
    const auto run = protocol::decode(*stored, opened_.index, opened_.published_at_us);
    if (!run) throw StoreBroken("the store is damaged: " + run.error().message);
    opened_.run_at = static_cast<std::size_t>(run->data() - stored->data());
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
  }
  const v1::Index& index = opened_.index;
  const std::size_t i = move.place.index;
  const int column = static_cast<int>(i);
  if (i + 1 >= opened_.offsets.size()) throw_missing("message", move.place);
  record_.Clear();
  record_.set_type(index.types(index.type_of().empty() ? 0 : static_cast<int>(index.type_of(column))));
  if (!index.key().empty()) record_.set_key(index.key(column));
  if (!index.unique_id().empty()) record_.set_unique_id(index.unique_id(column));
  record_.set_priority(move.lane);
  record_.set_published_at_us(opened_.published_at_us);
  // A copy: the next write of this transaction may move what `stored` looks at.
  body_ = stored->substr(opened_.run_at + opened_.offsets[i], opened_.offsets[i + 1] - opened_.offsets[i]);
}

void Apply::take_record(const Place& place) {
  const auto key = layout::key_of(place);
  const auto stored = records_.get(key.view());
  if (!stored) throw_missing("record", place);
  body_ = layout::read_record(*stored, place, record_);
  due_.remove(layout::due_key(place, record_.due_us()).view());
  records_.remove(key.view());
}

void Apply::operator()(const core::MoveMessage& write) {
  if (write.source == core::Source::segment) {
    read_from_segment(write);
  } else {
    take_record(write.place);
  }
  record_.set_attempts(write.attempts);
  record_.set_incarnation(write.lease.incarnation);
  record_.set_lease(write.lease.counter);
  record_.set_suspicion(write.suspicion);
  if (write.attempt) write.attempt->append_to(record_);
  record_.set_due_us(write.dead ? 0 : write.at_us);
  record_.set_dead_since_us(write.dead ? write.at_us : 0);
  if (!write.dead) {
    put_record(write.place, body_);
    return;
  }
  layout::write_record(record_, body_, scratch_);
  lmdb::put(txn_, databases_.dead, layout::key_of(write.place).view(), scratch_);
}

void Apply::operator()(const core::DropRecord& write) {
  const auto key = layout::key_of(write.place);
  if (!due_.remove(layout::due_key(write.place, write.due_us).view())) {
    const auto stored = records_.get(key.view());
    if (!stored) return;
    layout::read_record(*stored, write.place, record_);
    due_.remove(layout::due_key(write.place, record_.due_us()).view());
  }
  records_.remove(key.view());
}

void Apply::operator()(const core::ReplayDead& write) {
  const auto key = layout::key_of(write.place);
  const auto stored = lmdb::get(txn_, databases_.dead, key.view());
  if (!stored) return;  // two operators may ask for the same one
  body_ = layout::read_record(*stored, write.place, record_);
  record_.set_attempts(0);
  record_.set_dead_since_us(0);
  record_.set_due_us(write.due_us);
  put_record(write.place, body_);
  lmdb::remove(txn_, databases_.dead, key.view());
}

void Apply::operator()(const core::DropDead& write) {
  lmdb::remove(txn_, databases_.dead, layout::key_of(write.place).view());
}

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
