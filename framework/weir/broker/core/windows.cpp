// Publisher windows: the windows of one queue's publishers never sum above its room.
//
// What may still arrive unseen from a publisher is at most effective - outstanding. So the queue cannot overflow as
// long as
//   live + sum over publishers of (effective - outstanding) <= most.
// When n messages are confirmed, outstanding falls by n. The window falls with it, in a frame before the confirmation:
// messages on their way were sent under the old outstanding, so they fit the new window too. A window that falls by
// more than that counts in full until the publisher says that it has seen the newer epoch.
//
// Where workers end messages at once (holding.cpp), publishers should have at most twice as much under way as the
// workers have room for: once with the workers, and once on the way to them. More would wait, and be written for it.
// Messages that were written and have not ended yet count too; otherwise they would never become fewer.
//
// If the room is not enough for all, it goes round. Windows grow in turns. Once per second, unused room is taken back
// from publishers that have some, if others have none.
//
// A walk over all windows of a queue is made at most once in `shared_after` for each of them, so that it costs little
// whatever there is to share for. Without that, 5,000 publishers that came one after the other were told of each other
// 12 million times.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

bool bounded(const Queue& queue) {
  return queue.policy.most.on_full == OnFull::wait && (queue.policy.most.messages || queue.policy.most.bytes);
}

std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

/// Rounded down: rounded up, the first publishers would have the share of the last.
std::uint64_t share_of(std::uint64_t room, std::uint64_t publishers) {
  return room == 0 ? 0 : std::max<std::uint64_t>(1, room / publishers);
}

/// A window of a quick queue is never smaller than this: so many messages fill a frame well.
constexpr std::uint64_t quick_least = 256;
constexpr Duration shared_after = std::chrono::microseconds(50);

/// The most that each publisher should have: the default, or its share of what a quick or a bounded queue has room for.
Load fair_share(const State& state, const Queue& queue) {
  // RULE: full_disk_stops_publishing
  if (!state.room || !queue.in_file) return {};
  Load share = state.config.publisher_window;
  share.bytes = std::min(
      share.bytes, Bytes{share_of(state.config.unanswered_most.value, std::max<std::size_t>(1, state.windows_open))});
  const auto publishers = std::max<std::uint64_t>(1, queue.windows.size());
  if (is_quick(queue)) {
    const std::uint64_t most = 2 * held_most(queue);
    // In quarters; otherwise there would be a frame for every change.
    const std::uint64_t quarters = minus(most, written(queue)) * 4 / std::max<std::uint64_t>(1, most);
    share.messages = std::min(share.messages, Messages{std::max(quick_least, most * quarters / 4 / publishers)});
  }
  if (!bounded(queue)) return share;
  if (const auto& most = queue.policy.most.messages) {
    const std::uint64_t room = minus(most->value + queue.unanswered.messages.value, queue.live.messages.value);
    share.messages = std::min(share.messages, Messages{share_of(room, publishers)});
  }
  if (const auto& most = queue.policy.most.bytes) {
    const std::uint64_t room = minus(most->value + queue.unanswered.bytes.value, queue.live.bytes.value);
    share.bytes = std::min(share.bytes, Bytes{share_of(room, publishers)});
    if (room == 0) share.messages = {};
  }
  return share;
}

/// Room that no publisher has been promised.
Load unpromised(const Queue& queue) {
  Load promised = queue.live;
  for (const auto& [id, window] : queue.windows) {
    promised.messages += Messages{minus(window.effective.messages.value, window.outstanding.messages.value)};
    promised.bytes += Bytes{minus(window.effective.bytes.value, window.outstanding.bytes.value)};
  }
  const auto& most = queue.policy.most;
  constexpr std::uint64_t endless = ~std::uint64_t{0} / 2;
  return {Messages{most.messages ? minus(most.messages->value, promised.messages.value) : endless},
          Bytes{most.bytes ? minus(most.bytes->value, promised.bytes.value) : endless}};
}

/// Not worth a frame: growth by less than a quarter, unless from nothing; and, unless the queue is bounded, a loss of
/// at most an eighth.
bool worth_telling(const Load& from, const Load& to, bool is_bounded) {
  if (from == to) return false;
  if (from.messages.value == 0 || to.messages.value == 0) return true;
  const auto differs = [&](std::uint64_t a, std::uint64_t b) {
    return b < a ? is_bounded || a - b > a / 8 : b > a && b - a >= std::max<std::uint64_t>(1, a / 4);
  };
  return differs(from.messages.value, to.messages.value) || differs(from.bytes.value, to.bytes.value);
}

}  // namespace

void open_window(State& state, Queue& queue, Publisher& publisher) {
  const auto [at, is_new] = queue.windows.try_emplace(publisher.id);
  PublisherWindow& window = at->second;
  if (!is_new) return;
  publisher.queues.insert(queue.id);
  ++state.windows_open;
  window.epoch = window.first_epoch = ++state.window_epochs;
  Load most = fair_share(state, queue);
  if (bounded(queue)) {
    const Load free = unpromised(queue);
    most = {std::min(most.messages, free.messages), std::min(most.bytes, free.bytes)};
  }
  window.most = window.effective = most;
}

void close_window(State& state, Queue& queue, const PublisherId& publisher) {
  const auto at = queue.windows.find(publisher);
  if (at == queue.windows.end()) return;
  queue.unanswered -= at->second.outstanding;
  queue.windows.erase(at);
  --state.windows_open;
}

void fill_window(const Queue& queue, const PublisherId& publisher, v1::Window& out) {
  const PublisherWindow& window = queue.windows.at(publisher);
  out.set_queue(queue.id);
  out.set_epoch(window.epoch);
  out.set_messages(window.most.messages.value);
  out.set_bytes(window.most.bytes.value);
}

void window_seen(State& state, Queue& queue, Publisher& publisher, std::uint64_t epoch, Actions& actions) {
  const auto at = queue.windows.find(publisher.id);
  if (at == queue.windows.end() || epoch < at->second.epoch || at->second.effective == at->second.most) return;
  at->second.effective = at->second.most;
  share_room(state, queue, actions);
}

void free_window(State& state, Queue& queue, const PublisherId& publisher, Load answered, Actions& actions) {
  const auto at = queue.windows.find(publisher);
  if (at == queue.windows.end()) return;
  PublisherWindow& window = at->second;
  const auto less = [](Load& from, const Load& by) {
    from = {Messages{minus(from.messages.value, by.messages.value)}, Bytes{minus(from.bytes.value, by.bytes.value)}};
  };
  less(queue.unanswered,
       {std::min(window.outstanding.messages, answered.messages), std::min(window.outstanding.bytes, answered.bytes)});
  less(window.outstanding, answered);
  if (!bounded(queue)) return;
  const Load told = window.most;
  less(window.effective, answered);
  less(window.most, answered);
  const Load share = fair_share(state, queue);
  const Load free = unpromised(queue);
  // The window goes back to where it was, if there is room; share_room lets it grow beyond.
  window.most.messages =
      std::min({told.messages, std::max(share.messages, window.most.messages), window.most.messages + free.messages});
  window.most.bytes = std::min({told.bytes, std::max(share.bytes, window.most.bytes), window.most.bytes + free.bytes});
  window.effective = {std::max(window.effective.messages, window.most.messages),
                      std::max(window.effective.bytes, window.most.bytes)};
  if (window.most == told) return;
  window.epoch = ++state.window_epochs;
  const auto client = state.publishers.find(publisher);
  if (client == state.publishers.end() || client->second.connection == 0) return;
  v1::Frame frame;
  fill_window(queue, publisher, *frame.mutable_window());
  send(state, client->second.connection, std::move(frame), actions);
}

namespace {

/// Sets a new window, and tells it to the publisher if that is connected.
void tell(State& state, Queue& queue, const PublisherId& id, PublisherWindow& window, Load most, Actions& actions) {
  window.most = most;
  window.epoch = ++state.window_epochs;
  window.effective = {std::max(window.effective.messages, most.messages), std::max(window.effective.bytes, most.bytes)};
  const auto publisher = state.publishers.find(id);
  if (publisher == state.publishers.end() || publisher->second.connection == 0) return;
  v1::Frame frame;
  fill_window(queue, id, *frame.mutable_window());
  send(state, publisher->second.connection, std::move(frame), actions);
}

void share(State& state, Queue& queue, Actions& actions) {
  queue.shared_at = state.called_at;
  const bool is_bounded = bounded(queue);
  Load free = is_bounded ? unpromised(queue) : Load{};
  const Load share = fair_share(state, queue);
  auto at = queue.windows.upper_bound(queue.window_turn);
  for (std::size_t left = queue.windows.size(); left > 0; --left, ++at) {
    if (at == queue.windows.end()) at = queue.windows.begin();
    auto& [id, window] = *at;
    if (window.resting) continue;
    Load most = share;
    if (is_bounded) {
      // It grows only into room that no publisher was promised.
      most.messages = std::min(most.messages, window.effective.messages + free.messages);
      most.bytes = std::min(most.bytes, window.effective.bytes + free.bytes);
    }
    if (!worth_telling(window.most, most, is_bounded)) continue;
    if (most.messages > window.most.messages) {
      queue.window_turn = id;
      window.used = true;  // it has time until the look after next
    }
    const Load before = window.effective;
    tell(state, queue, id, window, most, actions);
    free.messages -= std::min(free.messages, window.effective.messages - before.messages);
    free.bytes -= std::min(free.bytes, window.effective.bytes - before.bytes);
  }
}

Instant share_due(const Queue& queue) {
  return queue.shared_at + shared_after * static_cast<Duration::rep>(queue.windows.size());
}

}  // namespace

void share_room(State& state, Queue& queue, Actions& actions) {
  if (queue.windows.empty()) return;
  const Instant due = share_due(queue);
  if (state.called_at >= due || queue.windows.size() == 1) return share(state, queue, actions);
  state.unshared.emplace(queue.id, &queue);
  state.share_next = std::min(state.share_next, due);
}

void sharing_tick(State& state, Actions& actions) {
  if (state.called_at < state.share_next) return;
  state.share_next = Instant::max();
  for (auto at = state.unshared.begin(); at != state.unshared.end();) {
    Queue& queue = *at->second;
    if (const Instant due = share_due(queue); state.called_at < due) {
      state.share_next = std::min(state.share_next, due);
      ++at;
      continue;
    }
    at = state.unshared.erase(at);
    share(state, queue, actions);
  }
}

void windows_tick(State& state, Queue& queue, Actions& actions) {
  if (!bounded(queue) || queue.windows.size() < 2) return share_room(state, queue, actions);
  const auto has_none = [](const PublisherWindow& window) { return window.most.messages.value == 0; };
  const bool somebody_waits = std::any_of(queue.windows.begin(), queue.windows.end(),
                                          [&](const auto& one) { return has_none(one.second) && !one.second.resting; });
  for (auto& [id, window] : queue.windows) {
    window.resting = somebody_waits && !window.used && !has_none(window) && window.outstanding.messages.value == 0;
    window.used = false;
    if (window.resting) tell(state, queue, id, window, {}, actions);
  }
  share_room(state, queue, actions);
}

}  // namespace weir::broker::core
