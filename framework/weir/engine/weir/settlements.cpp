#include "weir/engine/weir/settlements.hpp"

#include <algorithm>
#include <utility>

#include "weir/engine/weir/outputs.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::engine::weir_broker {
namespace {

/// The bounds of a settle frame. Larger frames gain nothing. A run has 8 fields, and outputs of 64 KiB have some
/// 14,000, which is within protocol::messages_head_fields_most.
constexpr std::size_t frame_runs_most = 2048;
constexpr std::uint64_t frame_bytes_most = protocol::segment_bytes_most;

/// The bytes that a run's details take in a frame, with the columns of its outputs.
std::uint64_t detail_bytes(const SettledRun& run) {
  if (run.detail == nullptr) return 0;
  std::uint64_t bytes = output_bytes(run) + run.detail->error.size();
  for (const Output& output : run.detail->outputs) bytes += head_bytes(output);
  return bytes;
}

/// Makes an ack a retry if one of its outputs goes to a queue that is gone.
void settle_without_lost_queues(SettledRun& run, const Settlements::QueueIdOf& queue_id) {
  if (run.detail == nullptr) return;
  for (const Output& output : run.detail->outputs) {
    if (queue_id(output.queue)) continue;
    run.outcome = Outcome::retry;
    run.detail->error = "published to queue '" + output.queue + "', which the broker does not have any more";
    run.detail->outputs.clear();
    return;
  }
}

void encode_run(const SettledRun& run, v1::Settle::Run& out) {
  out.set_lease(run.lease);
  out.set_count(run.count);
  out.set_outcome(static_cast<v1::Outcome>(run.outcome));
  if (run.detail == nullptr) return;
  if (run.detail->delay)
    out.set_delay_us(static_cast<std::uint64_t>(std::max(Duration{0}, *run.detail->delay).count()));
  out.set_error(run.detail->error);
  out.set_started_at_us(run.detail->started_at.time_since_epoch().count());
  out.set_duration_us(static_cast<std::uint64_t>(std::max(Duration{0}, run.detail->duration).count()));
}

/// Returns messages [from, from + count) of a run. Only a plain run can be cut.
SettledRun part_of(SettledRun& run, std::uint32_t from, std::uint32_t count) {
  SettledRun part{run.segment, run.lease + from, run.queue, run.first + from,
                  count,       run.outcome,      nullptr,   {run.origin.incarnation, run.origin.counter + from}};
  if (run.detail != nullptr) part.detail = std::move(run.detail);
  return part;
}

}  // namespace

std::uint64_t output_bytes(const SettledRun& run) {
  std::uint64_t bytes = 0;
  if (run.detail != nullptr) {
    for (const Output& output : run.detail->outputs) bytes += output.body.size();
  }
  return bytes;
}

void Settlements::add(std::vector<SettledRun>& runs) {
  adding_ = false;
  for (SettledRun& run : runs) {
    while (run.count > probe_.most()) {  // it is plain: a run with details has one message
      const auto most = static_cast<std::uint32_t>(probe_.most());
      add_one(part_of(run, 0, most));
      run = part_of(run, most, run.count - most);
    }
    add_one(std::move(run));
  }
  runs.clear();
  unsent_ = true;
}

void Settlements::add_one(SettledRun run) {
  const std::uint64_t size = detail_bytes(run);
  Frame* frame = adding_ ? &frames_.back() : nullptr;
  if (frame == nullptr || frame->runs.size() >= frame_runs_most ||
      (frame->bytes > 0 && frame->bytes + size > frame_bytes_most) ||
      (probe_.active() && frame->messages + run.count > probe_.most())) {
    frame = &frames_.emplace_back();
    adding_ = true;
    if (!spare_.empty()) {
      frame->runs = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  frame->bytes += size;
  frame->messages += run.count;
  count_.settlements += run.count;
  count_.output_bytes += output_bytes(run);
  if (!frame->runs.empty() && frame->runs.back().continued_by(run)) {
    frame->runs.back().count += run.count;
  } else {
    frame->runs.push_back(std::move(run));
  }
}

void Settlements::send(Instant now, const QueueIdOf& queue_id, const Send& send) {
  if (probe_.active()) return send_some(now, queue_id, send);
  if (now >= again_at_) {
    again_at_ = Instant::max();
    for (Frame& frame : frames_) send_one(frame, now, queue_id, send);
  } else if (unsent_) {
    // The unsent frames are at the end, so frames that were sent long ago are not walked over.
    auto from = frames_.end();
    while (from != frames_.begin() && std::prev(from)->number == 0) --from;
    for (; from != frames_.end(); ++from) send_one(*from, now, queue_id, send);
  }
  unsent_ = false;
}

void Settlements::send_some(Instant now, const QueueIdOf& queue_id, const Send& send) {
  again_at_ = Instant::max();
  std::uint64_t on_its_way = under_way();
  for (Frame& frame : frames_) {
    if (frame.number != 0 || frame.done) continue;
    if (on_its_way + frame.messages > probe_.most()) return;
    send_one(frame, now, queue_id, send);
    if (frame.number != 0) on_its_way += frame.messages;
  }
}

std::uint64_t Settlements::under_way() const {
  std::uint64_t messages = 0;
  for (const Frame& frame : frames_) {
    if (frame.number == 0 || frame.done) continue;
    for (const SettledRun& run : frame.runs) messages += run.count;
  }
  return messages;
}

bool Settlements::session_refused(const std::string& reason, Instant at) {
  const std::uint64_t messages = under_way();
  if (messages == 0) return false;
  if (!probe_.refused(messages, count_.settlements)) return true;
  for (const Frame& frame : frames_) {
    if (frame.number == 0 || frame.done || frame.runs.empty()) continue;
    const std::uint64_t lease = frame.runs.front().lease;
    refused(lease, 1, reason, at);
    return true;
  }
  return true;
}

void Settlements::send_one(Frame& frame, Instant now, const QueueIdOf& queue_id, const Send& send) {
  if (frame.number != 0 || frame.done) return;
  if (frame.not_before > now) {
    again_at_ = std::min(again_at_, frame.not_before);
    return;
  }
  head_.Clear();
  run_.clear();
  v1::Settle& settle = *head_.mutable_settle();
  Outputs outputs;
  for (SettledRun& run : frame.runs) {
    if (run.detail == nullptr) {
      encode_run(run, *settle.add_runs());
      continue;
    }
    const std::uint64_t before = output_bytes(run);
    settle_without_lost_queues(run, queue_id);
    count_.output_bytes -= before - output_bytes(run);
    encode_run(run, *settle.add_runs());
    for (const Output& output : run.detail->outputs) outputs.add(output, *queue_id(output.queue), run.lease);
  }
  outputs.finish(settle, run_);
  frame.number = send(head_, run_);
}

void Settlements::forget(const SettledRun& run) {
  probe_.answered(run.count);
  count_.settlements -= run.count;
  count_.output_bytes -= output_bytes(run);
}

void Settlements::drop(Frame& frame) {
  for (const SettledRun& run : frame.runs) forget(run);
  frame.runs.clear();
  if (spare_.size() < 16) spare_.push_back(std::move(frame.runs));
  frame.done = true;
}

void Settlements::trim() {
  while (!frames_.empty() && frames_.front().done) frames_.pop_front();
}

void Settlements::confirm(std::uint64_t first, std::uint64_t last) {
  for (Frame& frame : frames_) {
    if (frame.done || frame.number == 0 || frame.number < first) continue;
    if (frame.number <= last) drop(frame);
  }
  trim();
}

std::vector<SettledRun> Settlements::take(std::uint64_t lease, std::uint32_t count) {
  std::vector<SettledRun> taken;
  for (Frame& frame : frames_) {
    for (std::size_t i = 0; i < frame.runs.size(); ++i) {
      SettledRun& run = frame.runs[i];
      const std::uint64_t from = std::max(lease, run.lease);
      const std::uint64_t to = std::min(lease + count, run.lease + run.count);
      if (from >= to) continue;
      const auto before = static_cast<std::uint32_t>(from - run.lease);
      const auto n = static_cast<std::uint32_t>(to - from);
      const auto after = run.count - before - n;
      SettledRun rest;
      if (after > 0) rest = part_of(run, before + n, after);
      taken.push_back(part_of(run, before, n));
      if (before > 0) {
        run.count = before;
        if (after > 0) frame.runs.insert(frame.runs.begin() + static_cast<std::ptrdiff_t>(i) + 1, std::move(rest));
      } else if (after > 0) {
        run = std::move(rest);
      } else {
        frame.runs.erase(frame.runs.begin() + static_cast<std::ptrdiff_t>(i));
        --i;
      }
    }
    if (!frame.done && frame.runs.empty()) frame.done = true;
  }
  trim();
  for (const SettledRun& run : taken) forget(run);
  return taken;
}

bool Settlements::stale(std::uint64_t lease, std::uint32_t count) { return !take(lease, count).empty(); }

void Settlements::retry_later(std::vector<SettledRun> runs, Instant at) {
  if (runs.empty()) return;
  const std::size_t before = frames_.size();
  add(runs);
  for (std::size_t i = before; i < frames_.size(); ++i) frames_[i].not_before = at;
  again_at_ = std::min(again_at_, at);
}

void Settlements::again(std::uint64_t lease, std::uint32_t count, Instant at) { retry_later(take(lease, count), at); }

void Settlements::refused(std::uint64_t lease, std::uint32_t count, const std::string& reason, Instant at) {
  auto runs = take(lease, count);
  std::erase_if(runs, [](const SettledRun& run) { return run.outcome == Outcome::release; });
  for (SettledRun& run : runs) {
    if (run.outcome == Outcome::ack && run.detail != nullptr) {
      run.outcome = Outcome::retry;
      run.detail->error = "its settlement was refused: " + reason;
      run.detail->outputs.clear();
    } else {
      run.outcome = Outcome::release;
      run.detail.reset();
    }
  }
  retry_later(std::move(runs), at);
}

void Settlements::for_each(const std::function<void(const SettledRun&)>& visit) const {
  for (const Frame& frame : frames_) {
    for (const SettledRun& run : frame.runs) visit(run);
  }
}

void Settlements::renew(const std::function<std::optional<std::uint64_t>()>& new_lease) {
  std::deque<Frame> old;
  old.swap(frames_);
  count_ = {};
  again_at_ = Instant::max();
  std::vector<SettledRun> live;
  for (Frame& frame : old) {
    for (SettledRun& run : frame.runs) {
      for (std::uint32_t i = 0; i < run.count; ++i) {
        const auto lease = new_lease();
        if (!lease) {
          probe_.answered(1);
          continue;
        }
        SettledRun one{run.segment,
                       *lease,
                       run.queue,
                       run.first + i,
                       1,
                       run.outcome,
                       std::move(run.detail),
                       {run.origin.incarnation, run.origin.counter + i}};
        if (!live.empty() && live.back().continued_by(one)) {
          ++live.back().count;
        } else {
          live.push_back(std::move(one));
        }
      }
    }
  }
  if (!live.empty()) add(live);
}

}  // namespace weir::engine::weir_broker
