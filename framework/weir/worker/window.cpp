#include "weir/worker/window.hpp"

#include <algorithm>
#include <utility>

#include "weir/protocol/frame.hpp"

namespace weir::worker {
namespace {

/// The bytes of a message in the window: those of its encoded Body.
std::uint64_t weight(const engine::Delivery& delivery) { return delivery.body.size(); }

std::string_view append(std::string& bytes, std::string_view text) {
  const std::size_t at = bytes.size();
  bytes.append(text);
  return std::string_view(bytes).substr(at);
}

}  // namespace

Window::Window(const Load& most) : most_(most), places_(most.messages.value) {}

void Window::take(engine::Batch batch) {
  if (batch.deliveries.empty()) return;
  std::uint32_t index;
  if (free_frames_.empty()) {
    index = static_cast<std::uint32_t>(frames_.size());
    frames_.emplace_back();
  } else {
    index = free_frames_.back();
    free_frames_.pop_back();
  }
  Frame& frame = frames_[index];
  frame.owner = std::move(batch.owner);
  frame.deliveries = std::move(batch.deliveries);
  frame.bytes = 0;
  for (const engine::Delivery& each : frame.deliveries) {
    const Bytes size{weight(each)};
    if (each.ticket >= places_.size() || places_[each.ticket].delivery != nullptr ||
        !protocol::admits(most_, load_, size)) {
      throw Error("the engine delivered a message of " + std::to_string(size.value) + " bytes (ticket " +
                  std::to_string(each.ticket) + ") into a window of " + std::to_string(most_.messages.value) +
                  " messages and " + std::to_string(most_.bytes.value) + " bytes of which " +
                  std::to_string(load_.messages.value) + " messages and " + std::to_string(load_.bytes.value) +
                  " bytes are taken; closing the session");
    }
    Place& place = places_[each.ticket];
    place.delivery = &each;
    place.frame = index;
    load_ += {Messages{1}, size};
    frame.bytes += size.value;
    waiting_.push_back(each.ticket);
  }
  frame.unsettled = frame.bytes;
  frame.places = static_cast<std::uint32_t>(frame.deliveries.size());
  kept_bytes_ += frame.bytes;
}

Place* Window::next() {
  if (waiting_.empty()) return nullptr;
  Place& place = places_[waiting_.front()];
  waiting_.pop_front();
  return &place;
}

std::vector<Place*> Window::newest(std::uint32_t queue, std::uint64_t most) {
  std::vector<Place*> newest;
  const auto gone = std::remove_if(waiting_.rbegin(), waiting_.rend(), [&](engine::Ticket ticket) {
    if (newest.size() == most || places_[ticket].delivery->queue != queue) return false;
    newest.push_back(&places_[ticket]);
    return true;
  });
  waiting_.erase(waiting_.begin(), gone.base());
  return newest;
}

Place* Window::held(engine::Ticket ticket) {
  if (ticket >= places_.size() || places_[ticket].delivery == nullptr) return nullptr;
  return &places_[ticket];
}

void Window::free(Place& place) {
  const std::uint64_t bytes = weight(*place.delivery);
  load_ -= {Messages{1}, Bytes{bytes}};
  if (place.kept) {
    kept_bytes_ -= place.kept->bytes.size();
    place.kept.reset();
  }
  place.delivery = nullptr;
  place.slot = nullptr;
  place.also = nullptr;
  if (place.frame == Place::no_frame) return;
  const std::uint32_t index = place.frame;
  leave_frame(place, bytes);
  Frame& frame = frames_[index];
  if (frame.places == 0 || frame.unsettled * 4 >= frame.bytes || frame.crumbling) return;
  frame.crumbling = true;
  crumbling_.push_back(index);
}

void Window::tidy() {
  for (const std::uint32_t index : crumbling_) {
    Frame& frame = frames_[index];
    if (!std::exchange(frame.crumbling, false)) continue;  // the frame was let go meanwhile
    for (std::size_t i = 0; frame.places > 0; ++i) {
      Place& straggler = places_[frame.deliveries[i].ticket];
      if (straggler.frame == index) copy_out(straggler);
    }
  }
  crumbling_.clear();
}

void Window::forget_waiting(Place& place) {
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), place.delivery->ticket));
  free(place);
}

std::unique_ptr<Kept> Window::detach(Place& place) {
  std::unique_ptr<Kept> kept = std::move(place.kept);
  if (kept) {
    kept_bytes_ -= kept->bytes.size();
  } else {
    // Its handler may use the frame's bytes, so the frame lives on.
    kept = std::make_unique<Kept>(Kept{*place.delivery, {}, frames_[place.frame].owner});
  }
  if (place.also != nullptr) *place.also = &kept->delivery;
  free(place);
  return kept;
}

bool Window::stays(const Place& place) const {
  // A message that is a quarter of its frame, or more, is never copied out while it is unsettled.
  return place.frame == Place::no_frame || weight(*place.delivery) * 4 >= frames_[place.frame].bytes;
}

void Window::copy_out(Place& place) {
  const engine::Delivery& from = *place.delivery;
  auto kept = std::make_unique<Kept>();
  kept->delivery = from;
  kept->bytes.reserve(from.type.size() + from.key.size() + from.body.size());
  kept->delivery.type = append(kept->bytes, from.type);
  kept->delivery.key = append(kept->bytes, from.key);
  kept->delivery.body = append(kept->bytes, from.body);
  kept_bytes_ += kept->bytes.size();
  place.kept = std::move(kept);
  place.delivery = &place.kept->delivery;
  if (place.also != nullptr) *place.also = place.delivery;
  leave_frame(place, weight(*place.delivery));
}

void Window::leave_frame(Place& place, std::uint64_t bytes) {
  const std::uint32_t index = std::exchange(place.frame, Place::no_frame);
  Frame& frame = frames_[index];
  frame.unsettled -= bytes;
  if (--frame.places == 0) let_go(index);
}

void Window::let_go(std::uint32_t index) {
  Frame& frame = frames_[index];
  kept_bytes_ -= frame.bytes;
  frame.owner.reset();
  frame.deliveries.clear();
  frame.crumbling = false;
  free_frames_.push_back(index);
}

}  // namespace weir::worker
