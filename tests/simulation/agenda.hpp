#pragma once

/// What is to happen, and when: the simulation's only clock.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace weir::simulation {

enum class EventKind : std::uint8_t {
  frame_at_broker,  ///< a: line
  frame_at_client,  ///< a: line
  line_ended,       ///< a: line; the client's monitor says so
  client_tick,      ///< a: endpoint
  broker_turn,      ///< b: the broker's life
  broker_start,     ///< b: the life that it will be
  broker_crash,     ///< b: the broker's life
  commit_written,   ///< b: life; the disk has it
  commit_told,      ///< b: life; the loop hears of it
  handler_end,      ///< a: endpoint (shard), b: ticket; c: holding
  shard_turn,       ///< a: endpoint
  poison,           ///< a: endpoint (shard), b: message; c: holding; it ends its process
  process_start,    ///< a: plan; in the place of one that died of poison
  process_step,     ///< a: process; it drains, dies, is reported or begins
  publish,          ///< a: endpoint (publisher)
  machine_sleeps,   ///< a: for so many seconds; b: endpoint, which wakes a second later
  operate,          ///< the operator looks at dead letters
  fault,            ///< the next one
  heal,             ///< the world is well from now on
};

struct Event {
  std::int64_t at{};
  std::uint64_t order{};  ///< first in, first out among equals
  EventKind kind{};
  std::uint32_t a{};
  std::uint32_t b{};
  std::uint32_t c{};
};

class Agenda {
 public:
  void add(std::int64_t at, EventKind kind, std::uint32_t a = 0, std::uint32_t b = 0, std::uint32_t c = 0) {
    events_.push_back({at, next_++, kind, a, b, c});
    std::push_heap(events_.begin(), events_.end(), later);
  }
  /// Back for another time, behind what is planned for then already.
  void postpone(Event event, std::int64_t at) { add(at, event.kind, event.a, event.b, event.c); }
  [[nodiscard]] bool empty() const { return events_.empty(); }
  Event take() {
    std::pop_heap(events_.begin(), events_.end(), later);
    const Event event = events_.back();
    events_.pop_back();
    return event;
  }

 private:
  static bool later(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
  std::vector<Event> events_;
  std::uint64_t next_ = 0;
};

}  // namespace weir::simulation
