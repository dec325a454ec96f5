#pragma once

/// Settlements that were made and are not confirmed yet: kept to be sent again when a session is resumed.
///
/// Neighbouring messages with the same plain outcome are one run, so that a turn's acks of a whole segment cost one
/// entry. One with details (an error, a delay, outputs) stands alone.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/engine/weir/probe.hpp"
#include "weir/v1/wire.pb.h"

namespace weir::engine::weir_broker {

/// `count` neighbouring messages under `count` neighbouring leases, settled alike.
struct SettledRun {
  std::uint64_t segment{};
  std::uint64_t lease{};
  std::uint32_t queue{};
  std::uint32_t first{};
  std::uint32_t count{};
  Outcome outcome{};
  std::unique_ptr<SettlementDetail> detail;  ///< count is 1
  LeaseId origin;                            ///< of the first: the lease as it was delivered

  /// True if `next`, plain, is this run's next message.
  [[nodiscard]] bool continued_by(const SettledRun& next) const {
    return detail == nullptr && next.detail == nullptr && outcome == next.outcome && queue == next.queue &&
           segment == next.segment && lease + count == next.lease && first + count == next.first &&
           origin.incarnation == next.origin.incarnation && origin.counter + count == next.origin.counter;
  }
};

/// Bytes of the Bodies of a settlement's outputs.
[[nodiscard]] std::uint64_t output_bytes(const SettledRun& run);

class Settlements {
 public:
  /// The broker's id of a queue, by name; nothing if it has none.
  using QueueIdOf = std::function<std::optional<std::uint32_t>(std::string_view)>;
  /// Sends a settle frame; returns its number. The frame and run are the callee's for the call.
  using Send = std::function<std::uint64_t(v1::Frame& frame, std::string_view run)>;

  /// Takes runs (in the order of leases), as one frame, or more if it gets too large. They are unsent until send().
  void add(std::vector<SettledRun>& runs);
  /// Sends every unsent frame that is not to wait.
  void send(Instant now, const QueueIdOf& queue_id, const Send& send);

  /// Settle frames `first` to `last` are on disk.
  void confirm(std::uint64_t first, std::uint64_t last);
  /// Leases that are not ours any more: done. Returns whether any settlement was made under them.
  bool stale(std::uint64_t lease, std::uint32_t count);
  /// The store had no room for them: again from `at` on.
  void again(std::uint64_t lease, std::uint32_t count, Instant at);
  /// They were wrong in themselves: an ack becomes a retry that says why, anything else a release, a release is given
  /// up.
  void refused(std::uint64_t lease, std::uint32_t count, const std::string& reason, Instant at);
  /// The broker ended the session over what it was sent. Once that is known to be one settlement, it is treated as
  /// refused(). Before renew(). False: none was under way.
  [[nodiscard]] bool session_refused(const std::string& reason, Instant at);
  [[nodiscard]] Instant again_at() const { return again_at_; }

  /// After a reconnect: `new_lease` says for each message, in the order of for_each(), its new lease, or nothing if it
  /// is stale. All is unsent afterwards.
  void renew(const std::function<std::optional<std::uint64_t>()>& new_lease);
  void for_each(const std::function<void(const SettledRun&)>& visit) const;

  [[nodiscard]] Unconfirmed count() const { return count_; }

 private:
  struct Frame {
    std::uint64_t number = 0;  ///< 0: unsent
    bool done = false;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  ///< of details
    Instant not_before = Instant::min();
    std::vector<SettledRun> runs;
  };

  void add_one(SettledRun run);
  void send_one(Frame& frame, Instant now, const QueueIdOf& queue_id, const Send& send);
  void send_some(Instant now, const QueueIdOf& queue_id, const Send& send);
  /// Messages in frames that are sent and not answered.
  [[nodiscard]] std::uint64_t under_way() const;
  void drop(Frame& frame);
  void forget(const SettledRun& run);
  void trim();
  /// Takes what is settled under [lease, lease + count) out of its frames.
  std::vector<SettledRun> take(std::uint64_t lease, std::uint32_t count);
  void retry_later(std::vector<SettledRun> runs, Instant at);

  std::deque<Frame> frames_;
  bool adding_ = false;  ///< the last of them is still being filled
  Probe probe_;
  Unconfirmed count_;
  bool unsent_ = false;
  Instant again_at_ = Instant::max();
  std::vector<std::vector<SettledRun>> spare_;  // emptied vectors: no allocation a frame once warm
  v1::Frame head_;
  std::string run_;
};

}  // namespace weir::engine::weir_broker
