#include "weir/engine/memory/delivery.hpp"

#include "weir/message/error.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::engine::memory {
namespace {

using broker::core::Piece;
using broker::core::Snapshot;
using broker::core::Source;

/// Adds messages [first, first + count) of a segment. `all` is the segment's whole run.
void add_slice(const Piece& piece, const v1::Index& index, std::int64_t published_at_us, std::string_view all,
               v1::Delivery& delivery, std::string& run) {
  protocol::slice(index, piece.first, piece.count, *delivery.mutable_index());
  delivery.set_published_at_us(published_at_us);
  std::size_t from = 0;
  std::size_t bytes = 0;
  for (std::uint32_t i = 0; i < piece.first + piece.count; ++i) {
    (i < piece.first ? from : bytes) += index.lengths(static_cast<int>(i));
  }
  run.append(all.substr(from, bytes));
}

void add_slice(const Piece& piece, Snapshot& snapshot, v1::Delivery& delivery, std::string& run) {
  if (piece.ahead) {
    std::string all;
    for (const Slice& slice : piece.ahead->run) all.append(slice.bytes);
    add_slice(piece, piece.ahead->index, piece.ahead->published_at_us, all, delivery, run);
    protocol::slice_names(piece.ahead->names, piece.first, piece.count, *delivery.mutable_index()->mutable_names());
    return;
  }
  const auto stored = snapshot.segment(piece.key);
  if (!stored) throw Error("a segment to be delivered is not in the store");
  v1::Index index;
  std::int64_t published_at_us = 0;
  const auto all = protocol::decode(*stored, index, published_at_us);
  if (all.has_error()) throw Error(all.error().message);
  add_slice(piece, index, published_at_us, *all, delivery, run);
}

void add_record(const Piece& piece, Snapshot& snapshot, v1::Delivery& delivery, std::string& run) {
  const auto stored = snapshot.record({piece.key.queue, piece.key.segment, piece.first});
  v1::Record record;
  if (!stored || !record.ParseFromArray(stored->data(), static_cast<int>(stored->size()))) {
    throw Error("a record to be delivered is not in the store");
  }
  v1::Index& index = *delivery.mutable_index();
  index.add_types(record.type());
  index.add_lengths(static_cast<std::uint32_t>(record.body().size()));
  if (!record.key().empty()) index.add_key(record.key());
  if (!record.unique_id().empty()) index.add_unique_id(record.unique_id());
  const MessageName name = *protocol::read_name(record.name());
  const NameRun names{name.publisher, name.number, 1};
  protocol::slice_names({&names, 1}, 0, 1, *index.mutable_names());
  delivery.set_published_at_us(record.published_at_us());
  run.append(record.body());
}

}  // namespace

std::string deliver_frame(const broker::core::SendDelivery& action, Snapshot& snapshot) {
  v1::Frame frame;
  frame.set_number(action.number);
  frame.mutable_deliver()->set_commits(action.commits);
  std::string run;
  for (const Piece& piece : action.pieces) {
    v1::Delivery& delivery = *frame.mutable_deliver()->add_deliveries();
    delivery.set_queue(piece.key.queue);
    delivery.set_segment(piece.key.segment);
    delivery.set_first(piece.first);
    delivery.set_lease(piece.lease);
    delivery.set_attempt(piece.attempt);
    if (piece.source == Source::segment) {
      add_slice(piece, snapshot, delivery, run);
    } else {
      add_record(piece, snapshot, delivery, run);
    }
  }
  return protocol::encode(frame, run);
}

}  // namespace weir::engine::memory
