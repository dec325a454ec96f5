#pragma once

/// The messages that a shard holds unsettled. Each message of the window has a place.
///
/// The taken places are the messages that the session holds, so the credit is the window minus the taken places. If an
/// engine delivers more than the window, it has broken its promise: that is an error, and nothing is buffered.
///
/// Messages are views into the frame that they came in. Once less than a quarter of a frame's bytes is unsettled, the
/// rest is copied out, and the frame is let go. tidy() does that between turns, as most frames are settled whole within
/// one turn. So a shard holds at most 4 × its byte window, and the frames of one turn.
///
/// Thread: the shard's. Knows no Asio and no clock.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/message/units.hpp"

namespace weir::worker {

class Slot;

/// A delivery that owns its bytes, or keeps their owner alive.
struct Kept {
  engine::Delivery delivery;
  std::string bytes;
  std::shared_ptr<const void> owner;
};

/// One message of the window.
struct Place {
  static constexpr std::uint32_t no_frame = UINT32_MAX;

  const engine::Delivery* delivery = nullptr;  ///< null: the place is free
  std::uint32_t frame = no_frame;
  Slot* slot = nullptr;                     ///< the slot that runs it; null: it waits
  const engine::Delivery** also = nullptr;  ///< another pointer to `delivery`, which is updated when it moves
  std::unique_ptr<Kept> kept;               ///< set once it was copied out
};

class Window {
 public:
  explicit Window(const Load& most);

  /// Places the batch's deliveries behind those that wait. The caller handles `batch.lost`.
  ///
  /// Throws: Error if the engine delivers more than the window, or a ticket that is held already.
  void take(engine::Batch batch);

  /// Returns the oldest waiting delivery, which waits no longer; null if there is none.
  [[nodiscard]] Place* next();
  /// Returns the newest waiting deliveries of a queue, at most `most`. They wait no longer. Looks at all waiting ones.
  [[nodiscard]] std::vector<Place*> newest(std::uint32_t queue, std::uint64_t most);
  /// Returns the ticket's place, or null if it is not held.
  [[nodiscard]] Place* held(engine::Ticket ticket);
  /// Frees the place: its outcome is known, or it was lost.
  void free(Place& place);
  /// Frees the place of a delivery that was lost while it waits (`slot` null).
  void forget_waiting(Place& place);
  /// Frees the place of a delivery that was lost while it runs. The result keeps the bytes that its handler uses.
  [[nodiscard]] std::unique_ptr<Kept> detach(Place& place);

  /// True if the delivery's bytes stay where they are until the place is freed.
  [[nodiscard]] bool stays(const Place& place) const;

  /// True if a frame has less than a quarter left: call tidy() at the end of this turn.
  [[nodiscard]] bool wants_tidying() const { return !crumbling_.empty(); }
  /// Copies out the rest of these frames.
  void tidy();

  [[nodiscard]] Load load() const { return load_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  /// The bytes of messages in memory, in frames or copied out.
  [[nodiscard]] std::uint64_t kept_bytes() const { return kept_bytes_; }
  [[nodiscard]] const Load& most() const { return most_; }

 private:
  /// A batch as it came.
  struct Frame {
    std::shared_ptr<const void> owner;
    std::vector<engine::Delivery> deliveries;
    std::uint64_t bytes = 0;
    std::uint64_t unsettled = 0;
    std::uint32_t places = 0;
    bool crumbling = false;
  };

  void copy_out(Place& place);
  void leave_frame(Place& place, std::uint64_t bytes);
  void let_go(std::uint32_t index);

  Load most_;
  Load load_;
  std::uint64_t kept_bytes_ = 0;
  std::vector<Place> places_;  // by ticket
  std::deque<engine::Ticket> waiting_;
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> free_frames_;
  std::vector<std::uint32_t> crumbling_;
};

}  // namespace weir::worker
