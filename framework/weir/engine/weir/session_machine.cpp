#include "weir/engine/weir/session_machine.hpp"

#include <algorithm>
#include <utility>

#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::engine::weir_broker {
namespace {

/// How long a settlement waits if the store had no room for it.
constexpr Duration store_full_pause = std::chrono::milliseconds(500);

}  // namespace

SessionMachine::SessionMachine(ClientSettings settings, SessionOptions options)
    : ClientMachine(std::move(settings)), options_(std::move(options)), message_most_(protocol::message_most_default) {
  const auto places = static_cast<std::size_t>(options_.window.messages.value);
  held_.resize(places);
  free_.reserve(places);
  for (std::size_t i = places; i > 0; --i) free_.push_back(static_cast<Ticket>(i - 1));
}

std::optional<Batch> SessionMachine::take(Instant now) {
  if (ready_.empty() && lost_.empty() && recalls_.empty()) return std::nullopt;
  Batch batch;
  if (!ready_.empty()) {
    batch = std::move(ready_.front());
    ready_.pop_front();
    if (ready_has_lost_) {
      std::erase_if(batch.deliveries, [&](const Delivery& delivery) {
        if (held_[delivery.ticket].station != Station::lost) return false;
        free(delivery.ticket);
        return true;
      });
      ready_has_lost_ = !ready_.empty();
    }
    for (const Delivery& delivery : batch.deliveries) held_[delivery.ticket].station = Station::taken;
  }
  batch.lost = std::move(lost_);
  lost_.clear();
  batch.recalls = std::exchange(recalls_, {});
  for (const Ticket ticket : batch.lost) free(ticket);
  unstash(now);
  if (batch.deliveries.empty() && batch.lost.empty() && batch.recalls.empty())
    return take(now);  // all deliveries were lost before they were taken
  return batch;
}

void SessionMachine::unstash(Instant now) {
  while (!stash_.empty() && stash_.front().messages <= free_.size()) {
    const auto frame = std::move(stash_.front().frame);
    stash_.pop_front();
    deliver(now, frame);
  }
}

void SessionMachine::received(Instant now, const std::shared_ptr<Received>& frame) {
  if (frame->head().has_deliver()) {
    deliver(now, frame);
  } else if (frame->head().has_settled()) {
    settled(now, frame->head().settled());
  } else if (frame->head().has_recall()) {
    recalled(frame->head().recall());
  }
  // Other kinds of frames are of a later version, or for other clients.
}

void SessionMachine::recalled(const v1::Recall& recall) {
  const auto at = attachments_.find(recall.queue());
  if (at != attachments_.end()) recalls_.push_back({at->second, recall.messages()});
}

void SessionMachine::deliver(Instant now, const std::shared_ptr<Received>& frame) {
  std::size_t messages = 0;
  for (const auto& delivery : frame->head().deliver().deliveries()) {
    messages += static_cast<std::size_t>(delivery.index().lengths_size());
  }
  // This is no overrun: the broker counts lost deliveries as gone, but the worker has not heard of them yet.
  if (messages > free_.size() && outstanding_.messages + Messages{messages} <= options_.window.messages) {
    stash_.push_back({frame, messages});
    return;
  }
  if (!fits(now, *frame)) return;
  hand_out(frame);
  if (stopping_) release_ready(now);
}

bool SessionMachine::fits(Instant now, const Received& frame) {
  std::size_t offset = 0;
  Load load = outstanding_;
  std::uint64_t messages = 0;
  for (const auto& delivery : frame.head().deliver().deliveries()) {
    if (!attachments_.contains(delivery.queue())) {
      end(now, "a delivery of queue " + std::to_string(delivery.queue()) + ", which this session did not attach");
      return false;
    }
    std::size_t bytes = 0;
    for (const std::uint32_t length : delivery.index().lengths()) {
      bytes += length;
      if (!protocol::admits(options_.window, load, Bytes{length})) {
        // RULE: worker_checks_its_window
        fail("session of " + options_.group + "/" + std::to_string(options_.shard) + ": the engine delivered " +
             std::to_string(load.messages.value + 1) + " messages and " + std::to_string(load.bytes.value + length) +
             " bytes into a window of " + std::to_string(options_.window.messages.value) + " messages and " +
             std::to_string(options_.window.bytes.value) + " bytes; closing the session");
        return false;
      }
      load += {Messages{1}, Bytes{length}};
      ++messages;
    }
    const std::size_t left = frame.run.size() - offset;
    if (const auto right = protocol::check(delivery.index(), std::min(bytes, left), Bytes{UINT32_MAX});
        right.has_error()) {
      end(now, "a delivery's columns: " + right.error().message);
      return false;
    }
    // If several messages shared a name, handlers would take one for another.
    // RULE: names_are_checked
    if (const auto named = protocol::check_names(delivery.index()); named.has_error()) {
      end(now, "a delivery's columns: " + named.error().message);
      return false;
    }
    offset += bytes;
  }
  if (offset != frame.run.size() || messages > free_.size()) {
    end(now, "a delivery of " + std::to_string(messages) + " messages and " + std::to_string(offset) +
                 " bytes with a run of " + std::to_string(frame.run.size()));
    return false;
  }
  return true;
}

void SessionMachine::hand_out(const std::shared_ptr<Received>& frame) {
  Batch batch;
  batch.owner = frame;
  std::size_t messages = 0;
  for (const auto& delivery : frame->head().deliver().deliveries()) {
    messages += static_cast<std::size_t>(delivery.index().lengths_size());
  }
  batch.deliveries.reserve(messages);
  std::size_t offset = 0;
  for (const auto& delivery : frame->head().deliver().deliveries()) {
    const v1::Index& index = delivery.index();
    const std::uint32_t queue = attachments_.at(delivery.queue());
    const WallTime published_at{Duration{delivery.published_at_us()}};
    auto names = index.names().begin();
    NameRun named = protocol::name_run(*names);
    const bool of_one_type = index.type_of().empty();
    const std::string_view first_type = index.types(0);
    const bool have_keys = !index.key().empty();
    for (int i = 0; i < index.lengths_size(); ++i) {
      const std::uint32_t bytes = index.lengths(i);
      const Ticket ticket = free_.back();
      free_.pop_back();
      const auto n = static_cast<std::uint32_t>(i);
      held_[ticket] = {delivery.segment(),
                       delivery.lease() + n,
                       delivery.queue(),
                       delivery.first() + n,
                       bytes,
                       Station::ready,
                       {incarnation_, delivery.lease() + n}};
      if (named.count == 0) named = protocol::name_run(*++names);
      --named.count;
      batch.deliveries.push_back(
          {.ticket = ticket,
           .queue = queue,
           .attempt = delivery.attempt(),
           .index = delivery.first() + n,
           .segment = delivery.segment(),
           .name = {named.publisher, named.first++},
           .published_at = published_at,
           .type = of_one_type ? first_type : std::string_view(index.types(static_cast<int>(index.type_of(i)))),
           .key = have_keys ? std::string_view(index.key(i)) : std::string_view(),
           .body = frame->run.substr(offset, bytes)});
      offset += bytes;
    }
  }
  outstanding_ += {Messages{messages}, Bytes{offset}};
  ready_.push_back(std::move(batch));
  for (const auto& [lease, count] : stash_lost_) lose_held(lease, count);
  if (stash_.empty()) stash_lost_.clear();
}

void SessionMachine::free(Ticket ticket) {
  held_[ticket].station = Station::free;
  free_.push_back(ticket);
}

// ---- settling

SettledRun SessionMachine::run_of(Ticket ticket, Settlement& settlement) {
  const Held& held = held_[ticket];
  if (settlement.detail != nullptr && (settlement.outcome == Outcome::ack || settlement.outcome == Outcome::release) &&
      settlement.detail->outputs.empty()) {
    settlement.detail.reset();  // the broker keeps no details of these outcomes, so the settlement can be part of a run
  }
  SettledRun run{held.segment, held.lease, held.queue, held.index, 1, settlement.outcome, std::move(settlement.detail),
                 held.origin};
  return run;
}

void SessionMachine::settle(Instant now, std::span<Settlement> settlements) {
  if (is_opening()) {
    // HELLO has claimed these leases as held. WELCOME is about to rename them.
    for (Settlement& settlement : settlements) deferred_.push_back(std::move(settlement));
    return;
  }
  bool in_order = true;
  for (Settlement& settlement : settlements) {
    if (settlement.ticket >= held_.size()) continue;
    Held& held = held_[settlement.ticket];
    if (held.station == Station::lost) std::erase(lost_, settlement.ticket);
    if (held.station == Station::taken) {
      SettledRun run = run_of(settlement.ticket, settlement);
      outstanding_ -= {Messages{1}, Bytes{held.bytes}};
      if (!runs_.empty() && runs_.back().continued_by(run)) {
        ++runs_.back().count;
      } else {
        in_order = in_order && (runs_.empty() || runs_.back().lease < run.lease);
        runs_.push_back(std::move(run));
      }
    } else if (held.station != Station::lost) {
      continue;  // the worker knows that it is lost: its outcome changes nothing
    }
    free(settlement.ticket);
  }
  if (runs_.empty()) return unstash(now);
  // Handlers end in any order. Sorted, neighbours become one run.
  if (!in_order) {
    std::sort(runs_.begin(), runs_.end(), [](const SettledRun& a, const SettledRun& b) { return a.lease < b.lease; });
  }
  settlements_.add(runs_);
  send_settlements(now);
  unstash(now);
}

void SessionMachine::send_settlements(Instant now) {
  if (!is_up()) return;
  const auto queue_id = [this](std::string_view name) -> std::optional<std::uint32_t> {
    const auto at = queue_ids_.find(std::string(name));
    if (at == queue_ids_.end()) return std::nullopt;
    return at->second;
  };
  settlements_.send(now, queue_id, [this](v1::Frame& head, std::string_view run) { return send(head, run); });
}

Unconfirmed SessionMachine::unconfirmed() const {
  Unconfirmed count = settlements_.count();
  count.settlements += deferred_.size();
  return count;
}

void SessionMachine::settled(Instant now, const v1::Settled& settled) {
  // The exceptions come first: the range that confirms their frame may be in the same SETTLED.
  for (const auto& run : settled.runs()) {
    switch (run.answer()) {
      case v1::Settled::STALE:
        // A settlement under a stale lease is done. A held delivery under one is lost.
        if (!settlements_.stale(run.lease(), run.count())) lose(run.lease(), run.count());
        break;
      case v1::Settled::STORE_FULL:
        settlements_.again(run.lease(), run.count(), now + store_full_pause);
        break;
      case v1::Settled::REFUSED:
        settlements_.refused(run.lease(), run.count(), run.reason(), now);
        break;
      default:
        break;
    }
  }
  for (const auto& range : settled.frames()) settlements_.confirm(range.first(), range.last());
  send_settlements(now);
}

void SessionMachine::ticked(Instant now) { send_settlements(now); }

void SessionMachine::lose(std::uint64_t lease, std::uint32_t count) {
  lose_held(lease, count);
  if (!stash_.empty()) stash_lost_.emplace_back(lease, count);
}

void SessionMachine::lose_held(std::uint64_t lease, std::uint32_t count) {
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const Held& held = held_[i];
    if ((held.station == Station::ready || held.station == Station::taken) && held.lease >= lease &&
        held.lease - lease < count) {
      lose(static_cast<Ticket>(i));
    }
  }
}

void SessionMachine::lose(Ticket ticket) {
  Held& held = held_[ticket];
  outstanding_ -= {Messages{1}, Bytes{held.bytes}};
  if (held.station == Station::taken) {
    lost_.push_back(ticket);
  } else {
    ready_has_lost_ = true;
  }
  held.station = Station::lost;
}

void SessionMachine::stop_taking(Instant now) {
  if (stopping_) return;
  stopping_ = true;
  ++window_epoch_;
  say_window();
  release_ready(now);
}

void SessionMachine::say_window() {
  if (!is_up() || window_said_ == window_epoch_) return;
  window_said_ = window_epoch_;
  v1::Frame head;
  head.mutable_window()->set_epoch(window_epoch_);
  if (!stopping_) {
    head.mutable_window()->set_messages(options_.window.messages.value);
    head.mutable_window()->set_bytes(options_.window.bytes.value);
  }
  send(head);
}

void SessionMachine::release_ready(Instant now) {
  std::vector<Settlement> unseen;
  for (const Batch& batch : ready_) {
    for (const Delivery& delivery : batch.deliveries) {
      Held& held = held_[delivery.ticket];
      if (held.station == Station::lost) {
        free(delivery.ticket);
      } else {
        held.station = Station::taken;
        unseen.push_back({delivery.ticket, Outcome::release, nullptr});
      }
    }
  }
  ready_.clear();
  ready_has_lost_ = false;
  if (!unseen.empty()) settle(now, unseen);
}

std::string SessionMachine::id(const Delivery& delivery) const {
  return print_id(options_.queues[delivery.queue].queue, delivery.segment, delivery.index);
}

}  // namespace weir::engine::weir_broker
