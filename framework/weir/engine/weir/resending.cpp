// Sends unanswered messages again when a session begins: all at once, or in pieces if they have ended sessions before.
#include <algorithm>

#include "weir/engine/weir/producer_machine.hpp"

namespace weir::engine::weir_broker {

void ProducerMachine::resend() {
  put_until_ = sent_.empty() ? next_number_ : sent_.front()->first;
  under_way_ = 0;
  resend_some();
}

void ProducerMachine::resend_some() {
  std::uint64_t room = probe_.most() - std::min(probe_.most(), under_way_);
  for (const GroupPtr& group : sent_) {
    if (room == 0) break;
    if (group->first + group->count <= put_until_) continue;
    if (!group->queue->id) {
      Confirmation gone;
      gone.answer = Confirmation::Answer::in_doubt;
      gone.reason = "the broker does not have queue '" + group->queue->name + "' any more";
      answer(*group, 0, group->count, gone, nullptr);
    }
    auto i = static_cast<std::uint32_t>(put_until_ > group->first ? put_until_ - group->first : 0);
    while (i < group->count && room > 0) {
      if (group->answered.test(i)) {
        ++i;
        continue;
      }
      std::uint32_t to = i;
      while (to < group->count && !group->answered.test(to) && to - i < room) ++to;
      put(*group, i, to - i);
      room -= to - i;
      under_way_ += to - i;
      i = to;
    }
    put_until_ = group->first + i;
  }
  // Messages that were answered long ago leave gaps in the numbers.
  if (room > 0) put_until_ = next_number_;
  send_frame();
  trim();
}

bool ProducerMachine::refused(Instant, const std::string& why) {
  std::uint64_t all = 0;
  for (const GroupPtr& group : sent_) all += group->count - group->answered_count;
  if (all == 0) return false;
  if (!probe_.refused(holds_back() ? under_way_ : all, all)) return true;
  // Messages are sent in the order of their numbers, so the one that was under way is the first.
  Confirmation what;
  what.answer = Confirmation::Answer::refused;
  what.reason = why;
  Group& group = *sent_.front();
  std::uint32_t i = 0;
  while (group.answered.test(i)) ++i;
  answer(group, i, 1, what, nullptr);
  trim();
  return true;
}

}  // namespace weir::engine::weir_broker
