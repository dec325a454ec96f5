#pragma once

/// A shard's lines of the flight recorder: the handler on the CPU, and the handlers that have started.

#include <cstdint>
#include <optional>

#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker {

/// Thread: one writer, the shard's; any may read. Costs a few relaxed stores per message.
class Running {
 public:
  using Clock = recorder::Recorder::Clock;

  Running(recorder::Recorder& into, std::uint32_t shard)
      : recorder_(into), line_(into.shard(shard)), ended_(into.ended(shard)), first_slot_(shard * into.shape().slots) {}

  /// The slot's handler starts, and runs.
  void starts(std::uint32_t slot, const recorder::Starts& what) {
    recorder_.starts(first_slot_ + slot, what);
    enters(slot, what.started);
  }
  /// The slot's handler has ended; no handler runs.
  void ends(std::uint32_t slot) {
    leaves();
    recorder_.ends(first_slot_ + slot, ended_);
  }
  /// The slot's code runs (again) from `since` on.
  void enters(std::uint32_t slot, Clock::time_point since) { recorder_.enter(line_, first_slot_ + slot, since); }
  void leaves() { recorder::Recorder::leave(line_); }
  /// The slot's handler may run until `deadline`.
  void may_run_until(std::uint32_t slot, Clock::time_point deadline) {
    recorder_.slot(first_slot_ + slot).deadline.store(deadline.time_since_epoch().count(), std::memory_order_relaxed);
  }

  /// Returns nothing while no handler is on the CPU, or while it changes.
  [[nodiscard]] std::optional<recorder::OnCpu> read() const { return recorder_.on_cpu(line_); }

 private:
  recorder::Recorder& recorder_;
  recorder::ThreadLine& line_;
  recorder::EndedRing& ended_;
  std::uint32_t first_slot_;
};

}  // namespace weir::worker
