// What a broker may say to a worker's session, in bytes or in words, while the worker takes, settles and reconnects.
#include <chrono>
#include <map>
#include <vector>

#include "input.hpp"
#include "targets.hpp"
#include "weir/engine/weir/session_machine.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::fuzz {
namespace {

using namespace std::chrono_literals;
using engine::Ticket;
using engine::weir_broker::SessionMachine;

constexpr std::uint64_t window_messages = 8;
constexpr std::uint64_t window_bytes = 1000;

engine::SessionOptions options() {
  engine::SessionOptions all;
  all.group = "shop";
  all.shard = 1;
  all.queues = {{"orders", {"a.A"}}, {"emails", {}}};
  all.window = {Messages{window_messages}, Bytes{window_bytes}};
  return all;
}

class Play {
 public:
  explicit Play(Input& in) : in_(in), machine_({}, options()) { machine_.start(now_); }
  void step();
  void end();

 private:
  struct Held {
    std::shared_ptr<const void> owner;
    engine::Delivery delivery;
  };

  void say(v1::Frame frame, std::string_view run = {}) {
    if (!machine_.is_open()) return;
    frame.set_number(++number_);
    machine_.frame(now_, Slice::of(protocol::encode(frame, run)));
    hear();
  }
  void say_bytes(bool number);
  void open();
  void welcome();
  void deliver();
  void settled();
  void take();
  void settle();
  void hear();

  Input& in_;
  Instant now_{1h};
  SessionMachine machine_;
  std::uint64_t number_ = 0;       // of the broker's last frame
  std::uint64_t heard_ = 0;        // of the machine's last frame on this connection
  std::vector<v1::Claim> claims_;  // of the last HELLO
  std::map<Ticket, Held> held_;
  std::uint64_t next_lease_ = 1;
  bool stopped_ = false;
};

void Play::say_bytes(bool number) {
  const std::string_view bytes = in_.block();
  v1::Frame head;
  const auto run = protocol::decode(bytes, head);
  if (number && run) return say(std::move(head), *run);
  if (!machine_.is_open()) return;
  ++number_;
  machine_.frame(now_, Slice::of(std::string(bytes)));
  hear();
}

void Play::open() {
  if (!machine_.wants_open(now_)) now_ += 10s;
  machine_.tick(now_);
  hear();
  if (!machine_.wants_open(now_)) return;
  number_ = heard_ = 0;
  claims_.clear();
  machine_.outbox.clear();
  machine_.opened(now_);
  hear();
}

void Play::welcome() {
  v1::Frame frame;
  auto& welcome = *frame.mutable_welcome();
  welcome.set_version(2);
  welcome.set_incarnation(in_.below(4));
  welcome.set_session_timeout_us(in_.number() * 1'000'000);
  welcome.set_message_most_bytes(in_.number() * 100);
  const std::uint32_t queues = in_.byte();
  for (std::uint32_t id : {1U, 2U, 3U}) {
    if ((queues >> id & 1) != 0) continue;
    auto* queue = welcome.add_queues();
    queue->set_id(id);
    queue->set_name(id == 1 ? "orders" : id == 2 ? "emails" : "bills");
  }
  // The claims as they were made, each granted or stale, or cut in two.
  const auto answers = in_.byte();
  std::size_t i = 0;
  for (const auto& claim : claims_) {
    std::uint32_t at = 0;
    while (at < claim.count() && welcome.claims_size() < 64) {
      const std::uint32_t kind = answers >> (i++ % 8) & 1;
      const std::uint32_t count = kind == 0 ? claim.count() - at : 1;
      auto* answer = welcome.add_claims();
      answer->set_queue(claim.queue());
      answer->set_segment(claim.segment());
      answer->set_first(claim.first() + at);
      answer->set_count(count);
      answer->set_stale(kind == 1);
      if (kind == 0) answer->set_lease(next_lease_);
      next_lease_ += count;
      at += count;
    }
  }
  say(std::move(frame));
}

void Play::deliver() {
  v1::Frame frame;
  std::string run;
  for (std::uint32_t pieces = 1 + in_.below(3); pieces > 0; --pieces) {
    auto& delivery = *frame.mutable_deliver()->add_deliveries();
    delivery.set_queue(1 + in_.below(4));
    delivery.set_segment(in_.byte());
    delivery.set_first(in_.byte());
    delivery.set_lease(in_.below(8) == 0 ? in_.number() : next_lease_);
    delivery.set_attempt(in_.below(4));
    const std::uint32_t columns = in_.byte();
    const std::uint32_t count = in_.below(5);
    const std::uint32_t length = in_.byte();
    auto& index = *delivery.mutable_index();
    index.add_types("a.A");
    if ((columns & 1) != 0 && count > 1) index.add_types("a.B");
    for (std::uint32_t i = 0; i < count; ++i) {
      index.add_lengths(length);
      run.append(length, 'x');
      if (index.types_size() > 1) index.add_type_of(in_.below(3));
      if ((columns & 2) != 0) index.add_key("k");
    }
    if (columns > 250) index.add_key("one too many");
    if (columns > 0) {
      auto* names = index.add_names();
      names->set_publisher("its publisher id");
      names->set_first(next_lease_);
      names->set_count(columns > 252 ? columns : count);
    }
    next_lease_ += count;
  }
  say(std::move(frame), run);
}

void Play::settled() {
  v1::Frame frame;
  auto& settled = *frame.mutable_settled();
  const std::uint32_t what = in_.byte();
  if ((what & 1) != 0) {
    auto* range = settled.add_frames();
    range->set_first(in_.number());
    range->set_last(in_.below(2) == 0 ? heard_ : in_.number());
  }
  for (std::uint32_t runs = what / 2 % 4; runs > 0; --runs) {
    auto* run = settled.add_runs();
    const std::uint64_t back = in_.number();
    run->set_lease(back < next_lease_ ? next_lease_ - back : back);
    run->set_count(static_cast<std::uint32_t>(in_.number()));
    run->set_answer(static_cast<v1::Settled::Answer>(in_.below(5)));
    run->set_reason("because");
  }
  say(std::move(frame));
}

void Play::take() {
  while (auto batch = machine_.take(now_)) {
    for (const Ticket ticket : batch->lost) {
      require(held_.erase(ticket) == 1, "a ticket was lost that nobody held");
    }
    require(!stopped_ || batch->deliveries.empty(), "messages were handed out after the session stopped taking");
    std::uint64_t bytes = 0;
    for (const auto& delivery : batch->deliveries) {
      require(delivery.ticket < window_messages, "a ticket is above the window");
      require(delivery.queue < 2, "a delivery of a queue that is not attached");
      require(held_.emplace(delivery.ticket, Held{batch->owner, delivery}).second, "a ticket was given twice");
    }
    for (const auto& [ticket, held] : held_) {
      bytes += held.delivery.body.size();
      // Still readable, however many frames came since.
      volatile char last = 0;
      if (!held.delivery.body.empty()) last = held.delivery.body.back();
      if (!held.delivery.type.empty()) last = held.delivery.type.back();
      if (!held.delivery.key.empty()) last = held.delivery.key.back();
      static_cast<void>(last);
      require(!machine_.id(held.delivery).empty(), "a delivery has no id");
    }
    require(held_.size() <= window_messages, "more messages are held than the window has");
    require(held_.size() <= 1 || bytes <= window_bytes, "more bytes are held than the window has");
  }
}

void Play::settle() {
  // Losses are learnt before anything is settled, as the shell does.
  take();
  std::vector<engine::Settlement> settlements;
  const std::uint32_t which = in_.byte();
  for (auto at = held_.begin(); at != held_.end();) {
    if ((which >> at->first % 8 & 1) == 0) {
      ++at;
      continue;
    }
    auto& settlement = settlements.emplace_back();
    settlement.ticket = at->first;
    settlement.outcome = static_cast<Outcome>(1 + in_.below(6));
    if (const std::uint32_t more = in_.byte(); more > 0x80) {
      settlement.detail = std::make_unique<engine::SettlementDetail>();
      if (settlement.outcome == Outcome::ack) {
        for (std::uint32_t i = more % 4; i > 0; --i) {
          auto& output = settlement.detail->outputs.emplace_back();
          output.queue = in_.below(2) == 0 ? "orders" : "nowhere";
          output.type = "a.C";
          output.body.assign(in_.byte(), 'o');
          output.priority = static_cast<Lane>(in_.below(10));
        }
      } else {
        settlement.detail->delay = Duration(static_cast<std::int64_t>(in_.number() >> 1));
        settlement.detail->error.assign(more, 'e');
      }
    }
    at = held_.erase(at);
  }
  machine_.settle(now_, settlements);
  hear();
}

void Play::hear() {
  for (const std::string& bytes : machine_.outbox) {
    v1::Frame frame;
    const auto run = protocol::decode(bytes, frame);
    require(!run.has_error(), "what a session says does not parse");
    require(frame.number() == ++heard_, "frames to the broker have a gap");
    for (const auto* claims : {&frame.hello().held(), &frame.hello().settled()}) {
      claims_.insert(claims_.end(), claims->begin(), claims->end());
    }
    std::uint64_t bodies = 0;
    for (const auto& group : frame.settle().outputs()) {
      std::uint64_t sum = 0;
      for (const auto length : group.index().lengths()) sum += length;
      require(!protocol::check(group.index(), sum, Bytes{1 << 24}).has_error(), "outputs that any broker refuses");
      require(group.source_size() == group.index().lengths_size(), "outputs without their sources");
      bodies += sum;
    }
    require(bodies == run->size(), "outputs and their run do not fit");
    for (const auto& one : frame.settle().runs()) require(one.count() > 0, "a settlement of nothing");
  }
  machine_.outbox.clear();
  const Load held = machine_.outstanding();
  require(held.messages.value <= window_messages, "the session holds more messages than its window");
  require(held.messages.value <= 1 || held.bytes.value <= window_bytes, "the session holds more than its window");
}

void Play::step() {
  switch (in_.below(16)) {
    case 0:
      return say_bytes(false);
    case 1:
      return say_bytes(true);
    case 2:
      return open();
    case 3:
      return welcome();
    case 4:
    case 5:
      return deliver();
    case 6:
      return settled();
    case 7:
      return take();
    case 8:
    case 9:
      return settle();
    case 10: {
      constexpr std::array<Duration, 5> steps{1ms, 100ms, 1s, 3s, 1h};
      now_ += steps[in_.below(5)];
      machine_.tick(now_);
      return hear();
    }
    case 11:
      machine_.ended(now_, "the peer is gone");
      return hear();
    case 12:
      if (in_.below(8) != 0) return;
      machine_.stop_taking(now_);
      stopped_ = true;
      return hear();
    case 13: {
      v1::Frame frame;
      auto& error = *frame.mutable_error();
      error.set_code(static_cast<v1::Error::Code>(in_.below(12)));
      error.set_fatal(in_.below(2) == 0);
      error.set_message("no");
      return say(std::move(frame));
    }
    case 14:
      open();
      return welcome();
    default: {
      v1::Frame frame;
      frame.mutable_beat();
      return say(std::move(frame));
    }
  }
}

void Play::end() {
  take();
  machine_.goodbye(now_);
  hear();
  require(machine_.unconfirmed().settlements < (1U << 20) && machine_.unconfirmed().output_bytes < (1U << 30),
          "unconfirmed settlements went below 0");
}

}  // namespace

void worker(std::string_view bytes) {
  Input in(bytes);
  Play play(in);
  for (int steps = 0; !in.empty() && steps < 400; ++steps) play.step();
  play.end();
}

}  // namespace weir::fuzz
