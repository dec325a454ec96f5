#pragma once

/// Settlements that are not confirmed yet. They are kept, to be sent again when a session is resumed.
///
/// Neighbouring messages with the same plain outcome are one run, so that a turn's acks of a whole segment cost one
/// entry. A settlement with details (an error, a delay, outputs) is a run by itself.

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

/// The bytes of the Bodies of a run's outputs.
[[nodiscard]] std::uint64_t output_bytes(const SettledRun& run);

class Settlements {
 public:
  /// Returns the broker's id of a queue, by name; nothing if it has none.
  using QueueIdOf = std::function<std::optional<std::uint32_t>(std::string_view)>;
  /// Sends a settle frame and returns its number. It may change the frame; both views end with the call.
  using Send = std::function<std::uint64_t(v1::Frame& frame, std::string_view run)>;

  /// Takes runs, in the order of leases, as one frame, or as more if it gets too large. They are unsent until send().
  void add(std::vector<SettledRun>& runs);
  /// Sends every unsent frame that need not wait.
  void send(Instant now, const QueueIdOf& queue_id, const Send& send);

  /// Settle frames `first` to `last` are on disk.
  void confirm(std::uint64_t first, std::uint64_t last);
  /// These leases are stale: settlements under them are done. Returns true if there were any.
  bool stale(std::uint64_t lease, std::uint32_t count);
  /// The store had no room for these settlements: sends them again from `at` on.
  void again(std::uint64_t lease, std::uint32_t count, Instant at);
  /// The broker refused these settlements themselves. An ack becomes a retry with the reason, a release is given up,
  /// and any other outcome becomes a release.
  void refused(std::uint64_t lease, std::uint32_t count, const std::string& reason, Instant at);
  /// The broker ended the session because of what it was sent. Once one settlement is known to be the cause, it is
  /// treated as in refused(). Call it before renew(). Returns false if no settlement was under way.
  [[nodiscard]] bool session_refused(const std::string& reason, Instant at);
  [[nodiscard]] Instant again_at() const { return again_at_; }

  /// Renames the leases after a reconnect. `new_lease` returns the new lease of each message, in the order of
  /// for_each(), or nothing if it is stale. Afterwards all settlements are unsent.
  void renew(const std::function<std::optional<std::uint64_t>()>& new_lease);
  void for_each(const std::function<void(const SettledRun&)>& visit) const;

  [[nodiscard]] Unconfirmed count() const { return count_; }

 private:
  struct Frame {
    std::uint64_t number = 0;  ///< 0: unsent
    bool done = false;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  ///< of its details
    Instant not_before = Instant::min();
    std::vector<SettledRun> runs;
  };

  void add_one(SettledRun run);
  void send_one(Frame& frame, Instant now, const QueueIdOf& queue_id, const Send& send);
  void send_some(Instant now, const QueueIdOf& queue_id, const Send& send);
  /// The number of messages in frames that are sent and not answered.
  [[nodiscard]] std::uint64_t under_way() const;
  void drop(Frame& frame);
  void forget(const SettledRun& run);
  void trim();
  /// Takes the settlements under [lease, lease + count) out of their frames.
  std::vector<SettledRun> take(std::uint64_t lease, std::uint32_t count);
  void retry_later(std::vector<SettledRun> runs, Instant at);

  std::deque<Frame> frames_;
  bool adding_ = false;  ///< the last frame is still being filled
  Probe probe_;
  Unconfirmed count_;
  bool unsent_ = false;
  Instant again_at_ = Instant::max();
  std::vector<std::vector<SettledRun>> spare_;  // emptied vectors, so that frames need no allocation once warm
  v1::Frame head_;
  std::string run_;
};

}  // namespace weir::engine::weir_broker
