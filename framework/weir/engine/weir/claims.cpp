// A session's HELLO, with its claims, and WELCOME, with the answers to them.
#include <algorithm>
#include <tuple>

#include "weir/engine/weir/session_machine.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::engine::weir_broker {
namespace {

/// A claim is at most 60 bytes. So a part of a HELLO with 1,000 claims stays below 64 KiB.
constexpr int claims_a_part = 1000;
/// A part with attachments has at most 256 claims, and at most this many bytes of attachments (more only if the types
/// of one queue are larger).
constexpr int claims_beside_attachments = 256;
constexpr std::size_t attachments_a_part = 32 * 1024;

}  // namespace

void SessionMachine::hello(Instant) {
  v1::Hello hello = hello_of(v1::WORKER);
  hello.set_process_token(std::string(options_.process.view()));
  hello.set_shard(options_.shard);
  hello.set_group(options_.group);
  auto* window = hello.mutable_window();
  window->set_epoch(++window_epoch_);  // the broker may read the HELLOs of several connections in any order; this is
                                       // the newest
  if (!stopping_) {
    window->set_messages(options_.window.messages.value);
    window->set_bytes(options_.window.bytes.value);
  }
  window_said_ = window_epoch_;
  gather_claims();
  send_claims(send_attachments(std::move(hello)));
}

/// Sends all parts but the last, and returns that one: claims follow in it.
v1::Hello SessionMachine::send_attachments(v1::Hello part) {
  std::size_t bytes = 0;
  for (const Attachment& attachment : options_.queues) {
    v1::Attach attach;
    attach.set_queue(attachment.queue);
    for (const std::string& type : attachment.types) attach.add_types(type);
    const std::size_t size = attach.ByteSizeLong();
    if (bytes > 0 && bytes + size > attachments_a_part) {
      part.set_more(true);
      v1::Frame head;
      *head.mutable_hello() = std::move(part);
      send(head);
      part = hello_of(v1::WORKER);
      bytes = 0;
    }
    bytes += size;
    *part.add_attach() = std::move(attach);
  }
  return part;
}

void SessionMachine::gather_claims() {
  claims_.clear();
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const Held& held = held_[i];
    if (held.station != Station::ready && held.station != Station::taken) continue;
    claims_.push_back(
        {held.queue, held.segment, held.index, held.lease, static_cast<std::uint32_t>(i), true, held.origin, {}, {}});
  }
  std::uint32_t at = 0;
  settlements_.for_each([&](const SettledRun& run) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      claims_.push_back({run.queue,
                         run.segment,
                         run.first + i,
                         run.lease + i,
                         at++,
                         false,
                         {run.origin.incarnation, run.origin.counter + i},
                         {},
                         {}});
    }
  });
  std::sort(claims_.begin(), claims_.end(), [](const Claimed& a, const Claimed& b) {
    return std::tie(a.queue, a.segment, a.index, a.lease) < std::tie(b.queue, b.segment, b.index, b.lease);
  });
}

void SessionMachine::send_claims(v1::Hello first) {
  v1::Frame head;
  *head.mutable_hello() = std::move(first);
  int room = claims_beside_attachments;
  for (const bool held : {true, false}) {
    v1::Claim* last = nullptr;
    for (const Claimed& claim : claims_) {
      if (claim.held != held) continue;
      if (last != nullptr && last->queue() == claim.queue && last->segment() == claim.segment &&
          last->first() + last->count() == claim.index && last->lease() + last->count() == claim.lease &&
          last->origin_incarnation() == claim.origin.incarnation &&
          last->origin_lease() + last->count() == claim.origin.counter) {
        last->set_count(last->count() + 1);
        continue;
      }
      if (room-- == 0) {
        head.mutable_hello()->set_more(true);
        send(head);
        const v1::Hello part = hello_of(v1::WORKER);
        *head.mutable_hello() = part;
        room = claims_a_part - 1;
      }
      last = held ? head.mutable_hello()->add_held() : head.mutable_hello()->add_settled();
      last->set_queue(claim.queue);
      last->set_segment(claim.segment);
      last->set_first(claim.index);
      last->set_count(1);
      last->set_incarnation(incarnation_);
      last->set_lease(claim.lease);
      last->set_origin_incarnation(claim.origin.incarnation);
      last->set_origin_lease(claim.origin.counter);
    }
  }
  send(head);
}

void SessionMachine::welcomed(Instant now, const v1::Welcome& welcome) {
  queue_ids_.clear();
  attachments_.clear();
  for (const auto& queue : welcome.queues()) {
    queue_ids_[queue.name()] = queue.id();
    for (std::size_t i = 0; i < options_.queues.size(); ++i) {
      if (options_.queues[i].queue == queue.name()) attachments_[queue.id()] = static_cast<std::uint32_t>(i);
    }
  }
  if (welcome.message_most_bytes() > 0) message_most_ = Bytes{welcome.message_most_bytes()};
  answer_claims(welcome);
  incarnation_ = welcome.incarnation();
  say_window();
  send_settlements(now);
  // Settlements that were made while the leases had no names.
  std::vector<Settlement> deferred;
  deferred.swap(deferred_);
  if (!deferred.empty()) settle(now, deferred);
  if (stopping_) release_ready(now);
}

void SessionMachine::answer_claims(const v1::Welcome& welcome) {
  for (const auto& answer : welcome.claims()) {
    for (std::uint32_t i = 0; i < answer.count(); ++i) {
      const auto place = std::make_tuple(answer.queue(), answer.segment(), answer.first() + i);
      const auto [from, to] = std::equal_range(claims_.begin(), claims_.end(), place, [](const auto& a, const auto& b) {
        const auto place_of = []<class T>(const T& x) {
          if constexpr (std::is_same_v<T, Claimed>) {
            return std::make_tuple(x.queue, x.segment, x.index);
          } else {
            return x;
          }
        };
        return place_of(a) < place_of(b);
      });
      if (from == to) continue;  // was not claimed
      // A message may be claimed twice: it was settled, and then delivered here again. Answers come in the order of the
      // claims: first the held ones, then the settled ones, older leases first.
      auto at = std::find_if(from, to, [](const Claimed& claim) { return claim.held && is_unanswered(claim); });
      if (at == to) at = std::find_if(from, to, [](const Claimed& claim) { return is_unanswered(claim); });
      if (at == to) continue;
      at->answer = answer.stale() ? Claimed::Answer::stale : Claimed::Answer::granted;
      at->new_lease = answer.lease() + i;
    }
  }
  // A claim without an answer is lost.
  std::vector<std::optional<std::uint64_t>> settled(settlements_.count().settlements);
  for (const Claimed& claim : claims_) {
    const bool granted = claim.answer == Claimed::Answer::granted;
    if (!claim.held) {
      if (granted && claim.at < settled.size()) settled[claim.at] = claim.new_lease;
    } else if (granted) {
      held_[claim.at].lease = claim.new_lease;
    } else {
      lose(claim.at);
    }
  }
  claims_.clear();
  std::size_t next = 0;
  settlements_.renew([&] { return next < settled.size() ? settled[next++] : std::nullopt; });
}

void SessionMachine::disconnected(Instant now) {
  // Deliveries that found no ticket were not claimed. They return to the queue, uncounted.
  stash_.clear();
  stash_lost_.clear();
  std::vector<Settlement> deferred;
  deferred.swap(deferred_);
  if (!deferred.empty()) settle(now, deferred);
}

}  // namespace weir::engine::weir_broker
