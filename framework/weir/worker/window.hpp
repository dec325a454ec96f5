#pragma once

/// What a shard holds unsettled: a place for each message of the window.
///
/// Places taken are what the session holds, so window − places taken is the credit. An engine that delivers more than
/// the window has broken its promise: that is an error, never a buffer.
///
/// Messages are views into the frame they came in. Once less than a quarter of a frame's bytes is unsettled, what is
/// left of it is copied out and the frame let go (by tidy(), between turns: most frames are settled whole within one).
/// So a shard holds at most 4 × its byte window, and the frames of one turn.
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

/// A delivery that owns its bytes, or keeps alive whatever does.
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
  Slot* slot = nullptr;                     ///< who runs it; null: it waits
  const engine::Delivery** also = nullptr;  ///< who else looks at `delivery`, and is told when it moves
  std::unique_ptr<Kept> kept;               ///< once it was copied out
};

class Window {
 public:
  explicit Window(const Load& most);

  /// Places the batch's deliveries behind those that wait. `batch.lost` is the caller's.
  ///
  /// Throws: Error when the engine delivers more than the window, or a ticket that is held already.
  void take(engine::Batch batch);

  /// The oldest that waits; null if none does.
  [[nodiscard]] Place* next();
  /// The newest of a queue that wait, at most so many; they wait no longer. Looks at all that do.
  [[nodiscard]] std::vector<Place*> newest(std::uint32_t queue, std::uint64_t most);
  /// Its place, if it is held.
  [[nodiscard]] Place* held(engine::Ticket ticket);
  /// Frees the place: its outcome is known, or it was lost.
  void free(Place& place);
  /// Frees the place of a delivery that was lost while it waits (`slot` null).
  void forget_waiting(Place& place);
  /// Frees the place of a delivery that was lost while it runs; what its handler looks at lives on in the answer.
  [[nodiscard]] std::unique_ptr<Kept> detach(Place& place);

  /// True if the delivery's bytes stay where they are until the place is freed.
  [[nodiscard]] bool stays(const Place& place) const;

  /// True if there are frames of which less than a quarter is left: call tidy() at the end of this turn.
  [[nodiscard]] bool wants_tidying() const { return !crumbling_.empty(); }
  /// Copies out what is left of them.
  void tidy();

  [[nodiscard]] Load load() const { return load_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  /// Bytes of messages that are kept in memory, in frames or copied out.
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
