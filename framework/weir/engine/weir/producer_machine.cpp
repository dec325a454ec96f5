#include "weir/engine/weir/producer_machine.hpp"

#include <google/protobuf/stubs/common.h>

#include <algorithm>

#include "weir/engine/weir/outputs.hpp"
#include "weir/protocol/bounds.hpp"

namespace weir::engine::weir_broker {
namespace {

/// The broker keeps a publisher's mark for one hour. After 50 minutes away it may be gone.
constexpr Duration mark_kept = std::chrono::minutes(50);
/// The most unanswered frames with few messages: enough that the broker has the next frame while it commits the last.
constexpr std::size_t flushed_most = 8;
constexpr Duration gathered_for = std::chrono::milliseconds(2);
/// The most bytes of queue names in a HELLO, which may have 64 KiB in all. The other names follow when they are used.
constexpr std::size_t hello_names_bytes = 32 * 1024;
/// No broker has a queue with a longer name.
constexpr std::size_t queue_name_bytes_most = 100;

/// The most fields of a group with that index, as protocol/bounds.hpp counts them: one per entry of a text column, and
/// one per other column.
std::size_t fields_most_of(const v1::Index& index) {
  constexpr std::size_t others = 16;
  return others + static_cast<std::size_t>(index.types_size() + index.key_size() + index.unique_id_size());
}

}  // namespace

ProducerMachine::ProducerMachine(ClientSettings settings, PublisherId publisher)
    : ClientMachine(std::move(settings)), publisher_(publisher), message_most_(protocol::message_most_default) {}

ProducerMachine::Queue& ProducerMachine::queue(std::string_view name) {
  if (last_queue_ != nullptr && last_queue_->name == name) return *last_queue_;
  auto at = queues_.find(name);
  if (at == queues_.end()) {
    // A wrong name must not get into a HELLO: each HELLO would be malformed.
    if (name.size() > queue_name_bytes_most ||
        !google::protobuf::internal::IsStructurallyValidUTF8(name.data(), static_cast<int>(name.size()))) {
      throw UnknownQueue("a queue's name of " + std::to_string(name.size()) +
                         " bytes, which is no name: it has at most 100 bytes, in UTF-8");
    }
    at = queues_.emplace(std::string(name), Queue{}).first;
    at->second.name = name;
    name_as_known(at->second);
  }
  last_queue_ = &at->second;
  return *last_queue_;
}

const v1::QueueInfo* ProducerMachine::name_as_known(Queue& queue) {
  const auto known = known_.find(queue.name);
  if (known == known_.end()) return nullptr;
  queue.id = known->second.id();
  queue.in_file = known->second.in_file();
  by_id_[*queue.id] = &queue;
  return &known->second;
}

void ProducerMachine::check_known(const Queue& queue) const {
  if (!queue.id) {
    std::string names;
    for (const auto& [name, info] : known_) names += (names.empty() ? "" : ", ") + name;
    throw UnknownQueue("unknown queue '" + queue.name + "'; this broker has: " + (names.empty() ? "none" : names));
  }
  if (!queue.in_file) {
    throw UnknownQueue("queue '" + queue.name +
                       "' is not in the broker's file any more: it is drained and takes no publishes");
  }
}

void ProducerMachine::express_interest(Queue& queue) {
  queue.named = true;
  interest_.Clear();
  interest_.mutable_interest()->add_publish_to(queue.name);
  send(interest_);
}

bool ProducerMachine::has_room(std::string_view name) {
  if (failure()) throw Refused(*failure());
  Queue& to = queue(name);
  if (!is_up() || holds_back()) return false;
  check_known(to);
  if (!to.named) express_interest(to);
  return protocol::admits(to.window, to.outstanding, to.refused_size);
}

std::optional<std::uint64_t> ProducerMachine::offer(const Outgoing& message) {
  Queue& to = queue(message.queue);
  const Bytes size = message.size();
  if (!is_up() || holds_back()) {
    to.refused_size = size;
    return std::nullopt;
  }
  if (size > message_most_) {
    throw TooLarge("message of " + std::to_string(size.value) + " bytes for queue '" + to.name + "'; at most " +
                   std::to_string(message_most_.value) + " (broker.message_most)");
  }
  if (!protocol::admits(to.window, to.outstanding, size)) {
    check_known(to);
    if (!to.named) express_interest(to);
    to.refused_size = size;
    return std::nullopt;
  }

  Group*& open = to.open[message.priority];
  const std::size_t columns = message.key.size() + message.unique_id.size();
  if (open != nullptr && (open->run.size() + size.value > protocol::segment_bytes_most ||
                          open->columns + columns > protocol::segment_bytes_most)) {
    send_alone(*open);
  }
  if (open == nullptr) open = open_.emplace_back(new_group(to, message.priority)).get();
  Group& group = *open;
  append_message(group.index, message);
  ++group.count;
  group.columns += columns;
  group.run.append(message.body_head).append(message.body);
  const std::uint64_t mine = next_for_caller_++;
  if (!group.callers.empty() && group.callers.back().first + group.callers.back().second == mine) {
    ++group.callers.back().second;
  } else {
    group.callers.emplace_back(mine, 1);
  }
  to.outstanding += {Messages{1}, size};
  ++unanswered_;
  if (group.count == protocol::segment_messages_most || group.run.size() >= protocol::segment_bytes_most) {
    send_alone(group);
  }
  return mine;
}

void ProducerMachine::send_alone(Group& group) {
  const auto at = std::find_if(open_.begin(), open_.end(), [&](const GroupPtr& open) { return open.get() == &group; });
  GroupPtr full = std::move(*at);
  open_.erase(at);
  Group& numbered = number(std::move(full));
  put(numbered, 0, numbered.count);
  send_frame();
}

void ProducerMachine::flush(Instant now) {
  if (flushed_.size() < flushed_most || now >= flush_by_) return flush_at_once();
  if (!open_.empty()) flush_by_ = std::min(flush_by_, now + gathered_for);
}

void ProducerMachine::flush_at_once() {
  flush_by_ = Instant::max();
  if (!is_up() || open_.empty()) return;
  for (GroupPtr& open : open_) {
    Group& group = number(std::move(open));
    put(group, 0, group.count);
  }
  open_.clear();
  send_frame();
  flushed_.push_back(next_number_);
}

void ProducerMachine::ticked(Instant now) {
  if (now >= flush_by_) flush_at_once();
}

Instant ProducerMachine::ticks_next() const { return flush_by_; }

ProducerMachine::GroupPtr ProducerMachine::new_group(Queue& queue, Lane lane) {
  GroupPtr group;
  if (spare_.empty()) {
    group = std::make_unique<Group>();
  } else {
    group = std::move(spare_.back());
    spare_.pop_back();
  }
  group->queue = &queue;
  group->lane = lane;
  return group;
}

ProducerMachine::Group& ProducerMachine::number(GroupPtr group) {
  group->first = next_number_;
  group->epoch = group->queue->epoch;
  group->queue->open[group->lane] = nullptr;
  next_number_ += group->count;
  if (is_up()) put_until_ = next_number_;
  sent_.push_back(std::move(group));
  return *sent_.back();
}

void ProducerMachine::put(Group& group, std::uint32_t first, std::uint32_t count) {
  const bool whole = count == group.count;
  std::size_t from = 0;
  std::size_t bytes = group.run.size();
  if (!whole) {
    bytes = 0;
    for (std::uint32_t i = 0; i < first + count; ++i) {
      (i < first ? from : bytes) += group.index.lengths(static_cast<int>(i));
    }
  }
  const std::size_t fields = fields_most_of(group.index);
  if (!run_.empty() &&
      (run_bytes_ + bytes > protocol::segment_bytes_most || columns_ + group.columns > protocol::segment_bytes_most ||
       fields_ + fields > protocol::messages_head_fields_most)) {
    send_frame();
  }
  columns_ += group.columns;
  fields_ += fields;
  auto* out = head_.mutable_publish()->add_groups();
  out->set_queue(*group.queue->id);
  out->set_priority(group.lane);
  out->set_first_number(group.first + first);
  out->set_epoch(group.epoch);
  if (whole) {
    // The index is lent for the encoding, which saves a copy of 256 keys.
    out->mutable_index()->Swap(&group.index);
    swapped_.push_back(&group);
  } else {
    protocol::slice(group.index, first, count, *out->mutable_index());
    swapped_.push_back(nullptr);
  }
  run_.push_back(std::string_view(group.run).substr(from, bytes));
  run_bytes_ += bytes;
}

void ProducerMachine::send_frame() {
  if (swapped_.empty()) return;
  head_.mutable_publish()->set_answered_below(lowest_unanswered());
  send(head_, run_);
  for (std::size_t i = 0; i < swapped_.size(); ++i) {
    auto* out = head_.mutable_publish()->mutable_groups(static_cast<int>(i));
    if (swapped_[i] != nullptr) out->mutable_index()->Swap(&swapped_[i]->index);
  }
  swapped_.clear();
  head_.Clear();
  run_.clear();
  run_bytes_ = columns_ = fields_ = 0;
}

std::uint64_t ProducerMachine::lowest_unanswered() const {
  if (sent_.empty()) return next_number_;
  const Group& group = *sent_.front();
  std::uint32_t i = 0;
  while (i < group.count && group.answered.test(i)) ++i;
  return group.first + i;
}

// ---- the session

void ProducerMachine::hello(Instant) {
  v1::Frame head;
  v1::Hello& hello = *head.mutable_hello();
  hello = hello_of(v1::PUBLISHER);
  hello.set_publisher(std::string(publisher_.view()));
  hello.set_lowest_unanswered(lowest_unanswered());
  std::size_t bytes = 0;
  for (auto& [name, queue] : queues_) {
    bytes += name.size() + 2;
    if (bytes > hello_names_bytes) break;
    hello.add_publish_to(name);
    queue.named = true;
  }
  send(head);
}

void ProducerMachine::welcomed(Instant now, const v1::Welcome& welcome) {
  known_.clear();
  by_id_.clear();
  for (const auto& info : welcome.queues()) known_[info.name()] = info;
  if (welcome.message_most_bytes() > 0) message_most_ = Bytes{welcome.message_most_bytes()};
  for (auto& [name, queue] : queues_) {
    queue.epoch = 0;
    queue.window = {};
    queue.id.reset();
    const v1::QueueInfo* const info = name_as_known(queue);
    if (info != nullptr && info->has_window()) set_window(queue, info->window());
  }
  next_number_ = std::max(next_number_, welcome.publisher_mark() + 1);
  const bool mark_may_be_gone =
      left_at_ != Instant::max() && now - left_at_ > mark_kept && welcome.publisher_mark() == 0;
  if (!welcome.publisher_known() || mark_may_be_gone) {
    all_in_doubt(std::string(store() == Store::another ? "the broker has another store now"
                             : store() == Store::older ? "an older copy of the broker's store was put back"
                                                       : "the broker has forgotten this publisher") +
                 "; whether it took the message before is not known");
  }
  left_at_ = Instant::max();
  resend();
}

void ProducerMachine::disconnected(Instant now) {
  // The client may learn late of the end. The broker counts from the end that it saw itself.
  if (left_at_ == Instant::max()) left_at_ = std::min(now, away_since());
  head_.Clear();
  run_.clear();
  run_bytes_ = columns_ = fields_ = 0;
  // These messages were taken within credit. They are numbered now, and leave with those that are sent again.
  for (GroupPtr& open : open_) number(std::move(open));
  open_.clear();
  flushed_.clear();
  flush_by_ = Instant::max();
  for (auto& [name, queue] : queues_) queue.named = false;
}

void ProducerMachine::received(Instant now, const std::shared_ptr<Received>& frame) {
  if (frame->head().has_confirmed()) {
    for (const auto& run : frame->head().confirmed().runs()) confirmed(run);
    trim();
    if (holds_back()) resend_some();
    if (flush_by_ != Instant::max()) flush(now);
  } else if (frame->head().has_window()) {
    const v1::Window& window = frame->head().window();
    const auto at = by_id_.find(window.queue());
    if (at != by_id_.end() && window.epoch() >= at->second->epoch) window_changed(*at->second, window);
  }
}

void ProducerMachine::window_changed(Queue& queue, const v1::Window& window) {
  // The old window let in the gathered messages, and they leave under its epoch.
  const auto gathered = [&](const GroupPtr& group) { return group->queue == &queue; };
  if (std::any_of(open_.begin(), open_.end(), gathered)) flush_at_once();
  const Load before = queue.window;
  set_window(queue, window);
  // Until the broker hears of the new epoch, it must keep room for all that the larger window allowed.
  if (queue.window.messages < before.messages || queue.window.bytes < before.bytes) {
    interest_.Clear();
    interest_.mutable_window()->set_queue(window.queue());
    interest_.mutable_window()->set_epoch(window.epoch());
    send(interest_);
  }
}

void ProducerMachine::set_window(Queue& queue, const v1::Window& window) {
  queue.epoch = window.epoch();
  queue.window = {Messages{window.messages()}, Bytes{window.bytes()}};
}

// ---- answers

void ProducerMachine::confirmed(const v1::Confirmed::Run& run) {
  Confirmation what;
  what.answer =
      run.answer() == v1::Confirmed::REFUSED ? Confirmation::Answer::refused : Confirmation::Answer::confirmed;
  what.reason = run.reason();
  const std::uint64_t end = run.first() + run.count();
  auto at = std::upper_bound(sent_.begin(), sent_.end(), run.first(),
                             [](std::uint64_t number, const GroupPtr& group) { return number < group->first; });
  if (at != sent_.begin()) --at;
  for (; at != sent_.end() && (*at)->first < end; ++at) {
    Group& group = **at;
    const std::uint64_t from = std::max(run.first(), group.first);
    const std::uint64_t to = std::min(end, group.first + group.count);
    if (from >= to) continue;
    answer(group, static_cast<std::uint32_t>(from - group.first), static_cast<std::uint32_t>(to - from), what, &run);
  }
}

void ProducerMachine::answer(Group& group, std::uint32_t first, std::uint32_t count, const Confirmation& what,
                             const v1::Confirmed::Run* place) {
  for (std::uint32_t i = first; i < first + count;) {
    if (group.answered.test(i)) {
      ++i;
      continue;
    }
    std::uint32_t to = i;
    std::uint64_t bytes = 0;
    for (; to < first + count && !group.answered.test(to); ++to) {
      group.answered.set(to);
      bytes += group.index.lengths(static_cast<int>(to));
    }
    group.answered_count += to - i;
    group.queue->outstanding -= {Messages{to - i}, Bytes{bytes}};
    unanswered_ -= to - i;
    under_way_ -= std::min<std::uint64_t>(under_way_, to - i);
    probe_.answered(to - i);
    emit(group, i, to - i, what, place);
    i = to;
  }
}

void ProducerMachine::emit(const Group& group, std::uint32_t first, std::uint32_t count, const Confirmation& what,
                           const v1::Confirmed::Run* place) {
  std::uint32_t at = 0;  // the place in the group where the caller's run begins
  for (const auto& [callers_first, callers_count] : group.callers) {
    const std::uint32_t from = std::max(first, at);
    const std::uint32_t to = std::min(first + count, at + callers_count);
    if (from < to) {
      Confirmation& told = answers_.emplace_back(what);
      told.first = callers_first + (from - at);
      told.count = to - from;
      if (place != nullptr && place->segment() != 0 && what.answer == Confirmation::Answer::confirmed) {
        const auto offset = static_cast<std::uint32_t>(group.first + from - place->first());
        told.id = print_id(group.queue->name, place->segment(), place->index() + offset);
      }
    }
    at += callers_count;
  }
}

void ProducerMachine::all_in_doubt(const std::string& reason) {
  Confirmation doubt;
  doubt.answer = Confirmation::Answer::in_doubt;
  doubt.reason = reason;
  for (const GroupPtr& group : sent_) answer(*group, 0, group->count, doubt, nullptr);
  trim();
}

void ProducerMachine::trim() {
  while (!sent_.empty() && sent_.front()->answered_count == sent_.front()->count) {
    GroupPtr group = std::move(sent_.front());
    sent_.pop_front();
    if (spare_.size() >= 64) continue;
    group->index.Clear();
    // The memory of a large message is not kept for reuse.
    if (group->run.capacity() > 2 * protocol::segment_bytes_most) group->run = {};
    group->run.clear();
    group->callers.clear();
    group->answered.reset();
    group->answered_count = 0;
    group->count = 0;
    group->columns = 0;
    spare_.push_back(std::move(group));
  }
  const std::uint64_t unanswered_from = sent_.empty() ? next_number_ : sent_.front()->first;
  while (!flushed_.empty() && flushed_.front() <= unanswered_from) flushed_.pop_front();
}

}  // namespace weir::engine::weir_broker
