#pragma once

/// Code that a plugin runs on its shard's loop by Plugin::executor(): which handler it belongs to, and what happens if
/// it throws.
///
/// Code that a handler posts there belongs to that handler until the handler has ended: the handler counts as on the
/// CPU, and an exception of the code is the handler's failure. All other code belongs to no handler: its exceptions are
/// logged, and end nothing.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>

#include "weir/worker/slot_executor.hpp"
#include "weir/worker/slots.hpp"

namespace weir::worker {

/// Lifetime: it outlives the loop's work. Thread: the shard's; for mark() any.
class PluginCode {
 public:
  explicit PluginCode(asio::io_context& loop) : loop_(loop) {}

  [[nodiscard]] asio::any_io_executor executor() {
    return SlotExecutor<PluginCode, asio::io_context::executor_type>(this, loop_.get_executor());
  }
  /// Sets the slots. Before this call there are no handlers.
  void runs_in(Slots& slots) { slots_ = &slots; }

  // SlotExecutor calls these.
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
