#pragma once

/// Deliver frames, made of messages from the store, or of those that publishers have just brought: a small head, and
/// slices of runs, in one allocation.

#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <chrono>
#include <cstdint>
#include <vector>

#include "weir/async/zmq_frame.hpp"
#include "weir/broker/core/action.hpp"
#include "weir/broker/core/store.hpp"
#include "weir/v1/wire.pb.h"

namespace weir::broker {

class Delivering {
 public:
  /// The frame of `action`; a BEAT if nothing of it is left. Pieces that are not in the store as they were written are
  /// left out, and appended to `damaged` (then all is made again without them). Throws: StoreBroken if what was written
  /// is not what the core takes it for.
  [[nodiscard]] async::ZmqFrame frame(const core::SendDelivery& action, core::Snapshot& snapshot,
                                      std::vector<core::Piece>& damaged);

 private:
  /// The columns of a stored segment. Segments never change, and a place is never given twice, so they stay true.
  struct Opened {
    core::SegmentKey key;  // segment 0: none
    v1::Index index;
    std::int64_t published_at_us{};
    std::size_t run_at{};                ///< where the run begins in the stored value
    std::vector<std::uint32_t> offsets;  ///< where each message begins in the run, and the run's end
  };
  /// Slices of one segment go out in several frames: its columns are read once. Each entry is about 1 KiB.
  std::array<Opened, 64> opened_;

  /// The segments whose runs were found to be as they were written within the last second: a segment goes out in
  /// several slices, and the other queues have their turns between them.
  class Checked {
   public:
    [[nodiscard]] bool lately(const core::SegmentKey& key) const;
    void note(const core::SegmentKey& key);

   private:
    struct One {
      core::SegmentKey key;
      std::chrono::steady_clock::time_point until;
    };
    static constexpr std::size_t most = 8192;  // 1,000 queues with several segments each
    [[nodiscard]] static std::size_t at(const core::SegmentKey& key) { return (key.segment + key.queue * 7) % most; }
    std::vector<One> ones_ = std::vector<One>(most);
  };

  /// A run that is checked once it is copied: that of a whole segment.
  struct ToCheck {
    std::size_t run{};  ///< its place in runs_
    const core::Piece* piece{};
    std::string_view stored;
  };

  /// Makes the frame's head, without the pieces that are left out or turn out to be damaged; and lists the runs.
  void make_head(const core::SendDelivery& action, core::Snapshot& snapshot, std::vector<core::Piece>& damaged);
  /// Copies the runs to `out`. False if some were not as they were written: those are appended to `damaged`.
  bool copy_runs(char* out, core::Snapshot& snapshot, std::vector<core::Piece>& damaged);
  void leave_out(const core::Piece& piece, std::vector<core::Piece>& damaged);
  /// The columns; nullptr if they do not parse, or do not fit the run.
  Opened* open(const core::SegmentKey& key, std::string_view stored);
  /// False if the piece is damaged.
  bool add(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery);
  bool add_slice(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery);
  void add_ahead(const core::Piece& piece, v1::Delivery& delivery);
  bool add_record(const core::Piece& piece, core::Snapshot& snapshot, v1::Delivery& delivery);

  v1::Frame frame_;
  v1::Record record_;
  std::vector<std::string_view> runs_;
  std::vector<ToCheck> to_check_;
  Checked checked_;
  boost::unordered_flat_set<std::uint64_t> left_out_;  ///< the leases of this frame's damaged pieces
};

}  // namespace weir::broker
