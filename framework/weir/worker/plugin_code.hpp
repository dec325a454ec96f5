#pragma once

/// What a plugin runs on its shard's loop by Plugin::executor(): whose code it is, and what becomes of what it throws.
///
/// What a handler posts there runs as that handler's while it has not ended: it is on the CPU, and what it throws is
/// the handler's failure. All else is nobody's: what it throws is logged, and ends nothing.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "weir/worker/slot_executor.hpp"
#include "weir/worker/slots.hpp"

namespace weir::worker {

/// Lifetime: outlives the loop's work. Thread: the shard's; mark() any.
class PluginCode {
 public:
  explicit PluginCode(asio::io_context& loop) : loop_(loop) {}

  [[nodiscard]] asio::any_io_executor executor() {
    return SlotExecutor<PluginCode, asio::io_context::executor_type>(this, loop_.get_executor());
  }
  /// From here on; before, there are no handlers.
  void runs_in(Slots& slots) { slots_ = &slots; }

  // What SlotExecutor calls.
  [[nodiscard]] Slots::Mark mark() const {
    return slots_ != nullptr && loop_.get_executor().running_in_this_thread() ? slots_->mark() : Slots::Mark{};
  }
  template <class Function>
  void run(Slots::Mark mark, Function& function) {
    slots_ != nullptr ? slots_->run_as(mark, function) : function();
  }

 private:
  asio::io_context& loop_;
  Slots* slots_ = nullptr;
};

}  // namespace weir::worker
