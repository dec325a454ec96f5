#include "weir/worker/offload_lines.hpp"

#include "weir/async/forked_copy.hpp"
#include "weir/async/offload_watch.hpp"
#include "weir/worker/recorder/marks.hpp"
#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker {
namespace {

using async::OffloadOwner;
using recorder::Recorder;
using recorder::ThreadLine;

/// Returns the slot whose code runs. Only a shard's thread has a line, and so a slot, while it offloads.
OffloadOwner owner() noexcept {
  const recorder::Own own = recorder::own();
  if (own.line == nullptr) return {};
  const auto slot = static_cast<std::uint32_t>(own.line->running.load(std::memory_order_relaxed));
  if (slot == 0) return {};
  return {own.recorder, slot - 1};
}

ThreadLine* line_of(std::uint32_t number, OffloadOwner owner) {
  return owner.record == nullptr || number >= recorder::pool_lines
             ? nullptr
             : &static_cast<Recorder*>(owner.record)->pool(number);
}

void thread_begins() noexcept { recorder::make_known(); }

void begins(std::uint32_t number, OffloadOwner owner) noexcept {
  ThreadLine* const line = line_of(number, owner);
  if (line == nullptr) return;
  Recorder& recorder = *static_cast<Recorder*>(owner.record);
  recorder::set_own({&recorder, line});
  recorder.enter(*line, owner.slot, Recorder::Clock::now());
}

void ends(std::uint32_t number, OffloadOwner owner) noexcept {
  async::end_if_copy();
  ThreadLine* const line = line_of(number, owner);
  if (line == nullptr) return;
  Recorder::leave(*line);
  recorder::set_own({});
}

constexpr async::OffloadWatch watch{owner, thread_begins, begins, ends};

}  // namespace

void record_offloads() { async::watch_offloads(watch); }

}  // namespace weir::worker
