#include "weir/broker/delivering.hpp"

#include <algorithm>
#include <cstring>

#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/store_error.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker {
namespace {

[[noreturn]] void throw_not_there(const core::Piece& piece, const std::string& why) {
  throw StoreBroken("message " + print_id(std::to_string(piece.key.queue), piece.key.segment, piece.first) +
                    " was to be delivered, and the store " + why + ": report this as a defect of Weir");
}

}  // namespace

const Delivering::Opened& Delivering::open(const core::SegmentKey& key, std::string_view stored) {
  Opened& opened = opened_[(key.segment + key.queue * 7 + key.lane) % opened_.size()];
  if (opened.key == key) return opened;
  opened.key = {};
  const auto run = protocol::decode(stored, opened.index, opened.published_at_us);
  if (!run) throw StoreBroken("the store is damaged: " + run.error().message);
  opened.run_at = static_cast<std::size_t>(run->data() - stored.data());
  opened.offsets.clear();
  std::uint32_t offset = 0;
  for (const std::uint32_t length : opened.index.lengths()) {
    opened.offsets.push_back(offset);
    offset += length;
  }
  opened.offsets.push_back(offset);
  if (offset != run->size()) throw StoreBroken("the store is damaged: a segment's lengths do not fit its run");
  opened.key = key;
  return opened;
}

bool Delivering::add_slice(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery) {
  const auto stored = snapshot.segment(piece.key);
  if (!stored) return false;
  const Opened& opened = open(piece.key, *stored);
  const auto size = static_cast<std::uint32_t>(opened.index.lengths_size());
  if (piece.first + piece.count > size) throw_not_there(piece, "has fewer messages in its segment");
  if (piece.count == size) {
    *delivery.mutable_index() = opened.index;
  } else {
    protocol::slice(opened.index, piece.first, piece.count, *delivery.mutable_index());
  }
  delivery.set_published_at_us(opened.published_at_us);
  const std::uint32_t from = opened.offsets[piece.first];
  runs_.push_back(stored->substr(opened.run_at + from, opened.offsets[piece.first + piece.count] - from));
  return true;
}

void Delivering::add_ahead(const core::Piece& piece, v1::Delivery& delivery) {
  const core::Contents& contents = *piece.ahead;
  if (piece.count == static_cast<std::uint32_t>(contents.index.lengths_size())) {
    *delivery.mutable_index() = contents.index;
  } else {
    protocol::slice(contents.index, piece.first, piece.count, *delivery.mutable_index());
  }
  delivery.mutable_index()->clear_names();
  protocol::slice_names(contents.names, piece.first, piece.count, *delivery.mutable_index()->mutable_names());
  delivery.set_published_at_us(contents.published_at_us);
  std::size_t skip = 0;
  std::size_t left = 0;
  for (std::uint32_t i = 0; i < piece.first + piece.count; ++i) {
    (i < piece.first ? skip : left) += contents.index.lengths(static_cast<int>(i));
  }
  for (const Slice& slice : contents.run) {
    const std::string_view rest = slice.bytes.substr(std::min(skip, slice.bytes.size()));
    skip -= slice.bytes.size() - rest.size();
    if (rest.empty() || left == 0) continue;
    runs_.push_back(rest.substr(0, left));
    left -= runs_.back().size();
  }
}

bool Delivering::add_record(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery) {
  const Place place{piece.key.queue, piece.key.segment, piece.first};
  const auto stored = snapshot.record(place);
  if (!stored) return false;
  const std::string_view body = layout::read_record(*stored, place, record_);
  v1::Index& index = *delivery.mutable_index();
  index.add_lengths(static_cast<std::uint32_t>(body.size()));
  index.add_types(record_.type());
  if (!record_.key().empty()) index.add_key(record_.key());
  if (!record_.unique_id().empty()) index.add_unique_id(record_.unique_id());
  const MessageName name = *protocol::read_name(record_.name());
  const NameRun names{name.publisher, name.number, 1};
  protocol::slice_names({&names, 1}, 0, 1, *index.mutable_names());
  delivery.set_published_at_us(record_.published_at_us());
  runs_.push_back(body);
  return true;
}

bool Delivering::add(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery) {
  delivery.set_queue(piece.key.queue);
  delivery.set_segment(piece.key.segment);
  delivery.set_first(piece.first);
  delivery.set_lease(piece.lease);
  delivery.set_attempt(piece.attempt);
  if (piece.source == core::Source::record) return add_record(piece, snapshot, delivery);
  if (!piece.ahead) return add_slice(piece, snapshot, delivery);
  add_ahead(piece, delivery);
  return true;
}

async::ZmqFrame Delivering::frame(const core::SendDelivery& action, core::Snapshot& snapshot,
                                  std::vector<core::Piece>& damaged) {
  frame_.set_number(action.number);
  v1::Deliver& deliver = *frame_.mutable_deliver();
  deliver.Clear();
  deliver.set_commits(action.commits);
  runs_.clear();
  for (const core::Piece& piece : action.pieces) {
    if (add(piece, snapshot, *deliver.add_deliveries())) continue;
    deliver.mutable_deliveries()->RemoveLast();
    damaged.push_back(piece);
  }
  if (deliver.deliveries().empty()) frame_.mutable_beat();  // the frame's number must not be missing
  std::size_t run_bytes = 0;
  for (const std::string_view run : runs_) run_bytes += run.size();
  async::ZmqFrame out(protocol::encoded_size(frame_, run_bytes));
  char* at = protocol::encode_head(frame_, run_bytes, out.data());
  for (const std::string_view run : runs_) {
    if (!run.empty()) std::memcpy(at, run.data(), run.size());
    at += run.size();
  }
  return out;
}

}  // namespace weir::broker
