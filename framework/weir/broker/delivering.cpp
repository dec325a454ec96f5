#include "weir/broker/delivering.hpp"

#include <algorithm>
#include <cstring>

#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/store_error.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker {
namespace {

bool is_stored_segment(const core::Piece& piece) { return piece.source == core::Source::segment && !piece.ahead; }

}  // namespace

Delivering::Opened* Delivering::open(const core::SegmentKey& key, std::string_view stored) {
  Opened& opened = opened_[(key.segment + key.queue * 7 + key.lane) % opened_.size()];
  if (opened.key == key) return &opened;
  opened.key = {};
  const auto run = protocol::decode(stored, opened.index, opened.published_at_us);
  if (!run) return nullptr;
  opened.run_at = static_cast<std::size_t>(run->data() - stored.data());
  opened.offsets.clear();
  std::uint32_t offset = 0;
  for (const std::uint32_t length : opened.index.lengths()) {
    opened.offsets.push_back(offset);
    offset += length;
  }
  opened.offsets.push_back(offset);
  if (offset != run->size()) return nullptr;
  opened.key = key;
  return &opened;
}

bool Delivering::Checked::lately(const core::SegmentKey& key) const {
  const One& one = ones_[at(key)];
  return one.key == key && std::chrono::steady_clock::now() < one.until;
}

void Delivering::Checked::note(const core::SegmentKey& key) {
  ones_[at(key)] = {key, std::chrono::steady_clock::now() + std::chrono::seconds(1)};
}

bool Delivering::add_slice(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery) {
  const auto stored = snapshot.columns(piece.key);
  if (!stored) return false;
  Opened* const found = open(piece.key, *stored);
  if (found == nullptr) return false;
  Opened& opened = *found;
  const std::string_view run = stored->substr(opened.run_at);
  const auto size = static_cast<std::uint32_t>(opened.index.lengths_size());
  if (piece.first + piece.count > size) return false;
  delivery.set_published_at_us(opened.published_at_us);
  if (piece.count == size) {
    to_check_.push_back({runs_.size(), &piece, *stored});
    runs_.push_back(run);
    delivery.mutable_index()->Swap(&opened.index);  // it is hardly wanted again
    opened.key = {};
    return true;
  }
  if (!checked_.lately(piece.key)) {
    if (!snapshot.is_as_written(piece.key, *stored, run)) return false;
    checked_.note(piece.key);
  }
  protocol::slice(opened.index, piece.first, piece.count, *delivery.mutable_index());
  const std::uint32_t from = opened.offsets[piece.first];
  runs_.push_back(run.substr(from, opened.offsets[piece.first + piece.count] - from));
  return true;
}

void Delivering::add_ahead(const core::Piece& piece, v1::Delivery& delivery) {
  const core::Contents& contents = *piece.ahead;
  if (piece.count == static_cast<std::uint32_t>(contents.index.lengths_size())) {
    *delivery.mutable_index() = contents.index;
  } else {
    protocol::slice(contents.index, piece.first, piece.count, *delivery.mutable_index());
  }
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

void Delivering::make_head(const core::SendDelivery& action, core::Snapshot& snapshot,
                           std::vector<core::Piece>& damaged) {
  frame_.set_number(action.number);
  v1::Deliver& deliver = *frame_.mutable_deliver();
  deliver.Clear();
  deliver.set_commits(action.commits);
  runs_.clear();
  to_check_.clear();
  // What another core has written takes a while to come over: the next pieces come meanwhile.
  constexpr std::size_t ahead = 4;
  for (std::size_t i = 0; i < action.pieces.size() + ahead; ++i) {
    if (i < action.pieces.size() && is_stored_segment(action.pieces[i])) snapshot.prefetch(action.pieces[i].key);
    if (i < ahead) continue;
    const core::Piece& piece = action.pieces[i - ahead];
    if (left_out_.contains(piece.lease)) continue;
    if (add(piece, snapshot, *deliver.add_deliveries())) continue;
    deliver.mutable_deliveries()->RemoveLast();
    leave_out(piece, damaged);
  }
  if (deliver.deliveries().empty()) frame_.mutable_beat();  // the frame's number must not be missing
}

void Delivering::leave_out(const core::Piece& piece, std::vector<core::Piece>& damaged) {
  left_out_.insert(piece.lease);
  damaged.push_back(piece);
}

bool Delivering::copy_runs(char* out, core::Snapshot& snapshot, std::vector<core::Piece>& damaged) {
  bool all = true;
  auto check = to_check_.begin();
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const std::size_t size = runs_[i].size();
    if (size > 0) std::memcpy(out, runs_[i].data(), size);
    if (check != to_check_.end() && check->run == i) {
      if (!snapshot.is_as_written(check->piece->key, check->stored, {out, size})) {
        leave_out(*check->piece, damaged);
        all = false;
      }
      ++check;
    }
    out += size;
  }
  return all;
}

async::ZmqFrame Delivering::frame(const core::SendDelivery& action, core::Snapshot& snapshot,
                                  std::vector<core::Piece>& damaged) {
  left_out_.clear();
  for (;;) {
    make_head(action, snapshot, damaged);
    std::size_t run_bytes = 0;
    for (const std::string_view run : runs_) run_bytes += run.size();
    async::ZmqFrame out(protocol::encoded_size(frame_, run_bytes));
    if (copy_runs(protocol::encode_head(frame_, run_bytes, out.data()), snapshot, damaged)) return out;
  }
}

}  // namespace weir::broker
