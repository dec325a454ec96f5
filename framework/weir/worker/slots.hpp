#pragma once

/// Runs handlers in `concurrency` slot coroutines. Each is spawned once, and takes delivery after delivery.
///
/// A message costs no co_spawn (350 ns), no timer and no allocation. An idle slot is resumed where it is, and takes
/// messages from the window while any wait. A handler that never suspends is followed by the next in the same turn. A
/// turn is bounded in messages and in time, so that the loop's other work does not wait long. The handler's deadline is
/// armed only once it has suspended.
///
/// Thread: the shard's.

#include <atomic>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/async/deadlines.hpp"
#include "weir/async/in_line.hpp"
#include "weir/async/suspended.hpp"
#include "weir/async/task.hpp"
#include "weir/engine/engine.hpp"
#include "weir/handler/end.hpp"
#include "weir/worker/delivery_context.hpp"
#include "weir/worker/registry.hpp"
#include "weir/worker/running.hpp"
#include "weir/worker/settings.hpp"
#include "weir/worker/settler.hpp"
#include "weir/worker/thrown.hpp"
#include "weir/worker/window.hpp"

namespace weir::worker {

class Slots;

/// The most handlers per shard that the group's settings allow to run at once.
[[nodiscard]] std::uint32_t slots_most(const GroupSettings& settings);

/// One coroutine that runs handlers, one at a time.
class Slot final : private async::Deadline {
 public:
  Slot(Slots& slots, std::uint32_t number, ContextHome home, std::size_t handlers);

  // SlotExecutor calls these.
  [[nodiscard]] std::uint32_t mark() const { return run_.load(std::memory_order_relaxed); }
  template <class Function>
  void run(std::uint32_t mark, Function& function);

 private:
  using Clock = std::chrono::steady_clock;
  friend class Slots;
  /// Decides the delivery's outcome. its_own: the handler does. timed_out, released, lost: replace what the handler
  /// throws. escaped: an exception of its code escaped, which replaces any end of the handler.
  enum class Fate : std::uint8_t { its_own, timed_out, escaped, released, lost };

  Slot* enter();
  void leave(Slot* before);
  void escape(const End& end);

  void passed() override;
  void arm();
  void cancel(Fate fate);
  Clock::time_point enters_line();
  void leaves_line();

  Slots& slots_;
  std::uint32_t number_;               ///< in its shard; also the number of its line in the flight recorder
  std::atomic<std::uint32_t> run_{0};  ///< changes with each delivery
  DeliveryContext context_;
  asio::cancellation_signal signal_;
  std::optional<async::Suspended> idle_;
  Place* place_ = nullptr;            ///< null: idle, or its delivery was lost
  Registered* registered_ = nullptr;  ///< null: idle
  google::protobuf::MessageLite* message_ = nullptr;
  std::unique_ptr<Kept> lost_;  ///< the bytes that its handler uses after the delivery was lost
  End end_;
  bool threw_ = false;
  Fate fate_ = Fate::its_own;
  End escaped_;
  Clock::time_point started_;
  std::uint32_t lines_ = 0;          ///< how many lines its handler stands in (in_line.cpp)
  Clock::time_point in_line_since_;  ///< valid while lines_ is not 0
  Clock::duration in_line_left_{};   ///< how long it may stand in line
  /// By Registered::index. Made when first needed, and reused (308 ns per parse, against 1,115 ns).
  std::vector<std::unique_ptr<google::protobuf::MessageLite>> messages_;
};

class Slots final : private async::Timekeeper {
 public:
  using Clock = std::chrono::steady_clock;
  /// A turn ends after this many messages, or after turn_time_most.
  static constexpr std::uint32_t turn_messages_most = 256;
  static constexpr Clock::duration turn_time_most = std::chrono::milliseconds(1);

  Slots(asio::io_context& loop, const GroupSettings& settings, Registry& registry, engine::Session& session,
        Running on_cpu);
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;
  ~Slots() override;

  /// Places the deliveries and runs them. Throws: Error if the engine broke the window.
  void take(engine::Batch batch);

  /// Starts no more deliveries, and releases those that have not started.
  void release_unstarted();
  /// Cancels all running handlers. Their deliveries are released, whatever they throw.
  void cancel();
  /// Gives back all deliveries before any handler runs on. Called if the process lost its leases while it did not run.
  void give_back();
  /// Waits until no handler runs. Cancellation: terminal.
  [[nodiscard]] task<> none_running();
  /// Ends the idle coroutines. Call take() no more afterwards.
  void close();

  [[nodiscard]] std::size_t running() const { return running_count_; }
  [[nodiscard]] const Window& window() const { return window_; }
  [[nodiscard]] Settler& settler() { return settler_; }
  [[nodiscard]] const Running& on_cpu() const { return on_cpu_; }

  /// The slot whose handler's code runs now, and the number of the delivery in that slot.
  struct Mark {
    Slot* slot = nullptr;
    std::uint32_t run{};
  };
  [[nodiscard]] Mark mark() const { return current_ == nullptr ? Mark{} : Mark{current_, current_->mark()}; }
  /// Runs `function` as code of the delivery of `mark`, or as code of no handler once that handler has ended. An
  /// exception fails that handler, or is logged.
  template <class Function>
  void run_as(Mark mark, Function& function);

  /// `frozen` is called at each resumption of a handler. It returns true once the process has lost its leases (see
  /// give_back).
  void set_frozen(std::function<bool()> frozen) { frozen_ = std::move(frozen); }
  /// Replaces turn_time_most.
  void set_turn_time(Clock::duration most) { turn_time_ = most; }

 private:
  friend class Slot;

  // The functions of Timekeeper.
  [[nodiscard]] Run who_runs() const override;
  Clock::time_point enters_line(Run run) override;
  void leaves_line(Run run) override;

  void escaped(Slot* slot, const End& end);
  Slot* step_aside();
  void step_back(Slot* before);
  task<> serve(Slot& slot);
  [[nodiscard]] task<> idle(Slot& slot);
  bool begin_next(Slot& slot);
  bool begin(Slot& slot, Place& place);
  void finish(Slot& slot);
  void settle(Slot& slot, const End& end);
  void settle_unstarted(Place& place, const End& end);
  End still_in_line(const Slot& slot, const StillInLine& late);
  void log_failure(const engine::Delivery& delivery, const End& end, Clock::duration took);
  void give_back(const engine::Batch::Recall& recall);
  void lose(engine::Ticket ticket);
  void turn();
  void turn_again();
  void tidy_later();
  void wait_for_room();
  Slot* idle_slot();

  asio::io_context& loop_;
  const GroupSettings& settings_;
  Registry& registry_;
  engine::Session& session_;
  async::Deadlines& deadlines_;
  Window window_;
  Settler settler_;
  Running on_cpu_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  std::size_t slots_most_;
  async::Timekeepers::Kept timekeeper_;
  std::size_t running_count_ = 0;
  std::optional<async::Suspended> waits_for_none_;

  Slot* current_ = nullptr;  ///< the slot on the CPU
  Clock::time_point now_;    ///< when the present stretch of handler code began
  Clock::duration turn_time_ = turn_time_most;
  Clock::time_point turn_end_;
  std::uint32_t turn_left_ = 0;  ///< in messages
  std::uint64_t room_ = 0;       ///< handlers that may start before the unconfirmed bound
  bool turn_posted_ = false;
  bool waits_for_room_ = false;
  bool tidy_posted_ = false;
  bool stopped_ = false;
  bool closing_ = false;
  std::function<bool()> frozen_;
  log::Limit failures_{std::chrono::seconds(1)};
  log::Limit strangers_;
  log::Limit losses_{std::chrono::seconds(1)};
  log::Limit deaf_{std::chrono::seconds(1)};
  log::Limit escapes_{std::chrono::seconds(1)};
  log::Limit lines_{std::chrono::seconds(1)};
};

template <class Function>
void Slots::run_as(Mark mark, Function& function) {
  Slot* const slot = mark.slot != nullptr && mark.slot->mark() == mark.run ? mark.slot : nullptr;
  Slot* const before = slot != nullptr ? slot->enter() : step_aside();
  try {
    function();
  } catch (...) {
    escaped(slot, thrown_end());
  }
  slot != nullptr ? slot->leave(before) : step_back(before);
}

template <class Function>
void Slot::run(std::uint32_t mark, Function& function) {
  slots_.run_as({this, mark}, function);
}

}  // namespace weir::worker
