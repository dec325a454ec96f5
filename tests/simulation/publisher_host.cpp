#include "publisher_host.hpp"

#include <limits>
#include <utility>

namespace weir::simulation {
namespace {

PublisherId publisher_id(Random random) {
  PublisherId id;
  for (auto& byte : id.bytes) byte = static_cast<unsigned char>(random.next());
  return id;
}

}  // namespace

PublisherHost::PublisherHost(Stage& stage, Network& network, Clients& clients, std::string name, std::uint32_t messages)
    : Endpoint(stage, network, clients, std::move(name), nobody),
      id_(publisher_id(Random(stage.scenario.seed, 5000 + number()))),
      machine_(client_settings(stage, number()), id_),
      random_(stage.scenario.seed, 6000 + number()),
      times_(stage.scenario.seed, 7000 + number()),
      left_(messages) {
  stage_.in(within(random_, stage_.scenario.publish_every_us), EventKind::publish, number());
}

void PublisherHost::make_one() {
  const Scenario& scenario = stage_.scenario;
  Waiting& one = waiting_.emplace_back();
  one.queue = random_.below(scenario.queues.size());
  one.type = random_.below(scenario.types.size());
  one.lane = scenario.lanes[random_.below(scenario.lanes.size())];
  if (random_.percent(scenario.delayed_percent)) one.delay_us = random_.between(1, 400'000);
  if (one.delay_us == 0 && times_.percent(scenario.timed_percent)) {
    one.deliver_at_us = stage_.clock.wall_us() + times_.between(-100'000, 400'000);
  }
  const auto bytes = static_cast<std::size_t>(within(random_, scenario.payload_bytes));
  one.uid = stage_.ledger.make(one.queue, one.lane, one.type, one.delay_us, bytes, one.deliver_at_us);
  one.body = body_of(one.uid, bytes);
}

void PublisherHost::publish() {
  if (is_dead()) return;
  auto count = static_cast<std::uint32_t>(random_.percent(70) ? random_.between(1, 3) : random_.between(4, 20));
  for (; count > 0 && left_ > 0; --count, --left_) make_one();
  offer_waiting();
  if (left_ > 0) stage_.in(within(random_, stage_.scenario.publish_every_us), EventKind::publish, number());
}

void PublisherHost::offer_waiting() {
  std::vector<bool> full(stage_.scenario.queues.size());
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    // What waits for one queue's credit holds back no other's.
    if (full[at->queue]) {
      ++at;
      continue;
    }
    const std::string& queue = stage_.scenario.queues[at->queue].name;
    engine::Outgoing outgoing;
    outgoing.queue = queue;
    outgoing.type = stage_.scenario.types[at->type];
    const std::string key = key_of(at->uid);
    outgoing.key = key;
    outgoing.body = at->body;
    outgoing.delay = Duration{at->delay_us};
    if (at->deliver_at_us != 0) outgoing.deliver_at = WallTime{Duration{at->deliver_at_us}};
    outgoing.priority = at->lane;
    // Before it is taken: its frame may leave with the call.
    if (!machine_.has_room(queue)) {
      full[at->queue] = true;
      ++at;
      continue;
    }
    const auto number = machine_.offer(outgoing);
    if (!number) {
      full[at->queue] = true;
      ++at;
      continue;
    }
    if (*number != numbers_.size()) throw Broken("answered_once", name() + ": numbers have a gap");
    numbers_.push_back(at->uid);
    stage_.ledger.offered(at->uid, Endpoint::number() + 1, id_);
    stage_.say(name().c_str(), "publishes message %u to %s as its %llu", at->uid, queue.c_str(),
               static_cast<unsigned long long>(*number));
    at = waiting_.erase(at);
  }
  machine_.flush(stage_.clock.instant());
  carry_out();
}

void PublisherHost::changed() {
  for (const engine::Confirmation& answer : machine_.take_answers()) {
    for (std::uint32_t i = 0; i < answer.count; ++i) {
      const std::uint64_t number = answer.first + i;
      if (number == 0 || number >= numbers_.size()) {
        throw Broken("answered_once", name() + " is answered for " + std::to_string(number) + ", which it never sent");
      }
      const Uid uid = numbers_[number];
      using enum engine::Confirmation::Answer;
      stage_.say(name().c_str(), "hears of message %u: %s", uid,
                 answer.answer == confirmed ? "confirmed"
                 : answer.answer == refused ? "refused"
                                            : "in doubt");
      if (answer.answer == confirmed) {
        stage_.ledger.told_confirmed(uid, i == 0 ? answer.id : "");
      } else if (answer.answer == refused) {
        stage_.ledger.told_refused(uid);
      } else {
        const bool store_is_another = line() != 0 && network_.line(line()).may_be_in_doubt;
        stage_.ledger.told_in_doubt(
            uid, store_is_another ? std::numeric_limits<std::int64_t>::max() : std::max(silent_us_, silent_before_us_));
      }
    }
  }
  if (!machine_.is_up()) {
    for (const Uid uid : numbers_) {
      if (uid != 0) stage_.ledger.to_be_sent_again(uid);
    }
  } else if (!waiting_.empty()) {
    offer_waiting();
  }
}

std::uint32_t PublisherHost::crash() {
  stage_.say(name().c_str(), "dies");
  for (const Uid uid : numbers_) {
    if (uid != 0) stage_.ledger.abandoned(uid);
  }
  die();
  const auto left = left_ + static_cast<std::uint32_t>(waiting_.size());
  waiting_.clear();
  return left;
}

void publish(Endpoint& publisher) { static_cast<PublisherHost&>(publisher).publish(); }

}  // namespace weir::simulation
