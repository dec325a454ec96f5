// What a broker may say to a publisher's session, in bytes or in words, while it offers, flushes and reconnects.
#include <array>
#include <chrono>
#include <set>
#include <vector>

#include "input.hpp"
#include "targets.hpp"
#include "weir/engine/weir/producer_machine.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::fuzz {
namespace {

using namespace std::chrono_literals;

constexpr std::array<const char*, 3> queues{"orders", "emails", "nowhere"};

class Play {
 public:
  explicit Play(Input& in) : in_(in), machine_({}, PublisherId{}) { machine_.start(now_); }
  void step();
  void end();

 private:
  void say(v1::Frame frame, std::string_view run = {}) {
    if (!machine_.is_open()) return;
    frame.set_number(++number_);
    machine_.frame(now_, Slice::of(protocol::encode(frame, run)));
    hear();
  }
  void say_bytes(bool number);
  void open();
  void welcome();
  void confirm();
  void offer();
  void hear();

  Input& in_;
  Instant now_{1h};
  engine::weir_broker::ProducerMachine machine_;
  std::uint64_t number_ = 0;
  std::uint64_t heard_ = 0;
  std::uint64_t sent_ = 0;  // the highest number on the wire
  std::uint64_t epoch_ = 1;
  std::set<std::uint64_t> unanswered_;
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
  machine_.outbox.clear();
  machine_.opened(now_);
  hear();
}

void Play::welcome() {
  v1::Frame frame;
  auto& welcome = *frame.mutable_welcome();
  welcome.set_version(2);
  const std::uint32_t how = in_.byte();
  welcome.set_publisher_known((how & 1) == 0);
  welcome.set_publisher_mark(in_.below(4) == 0 ? in_.number() : 0);
  welcome.set_session_timeout_us(in_.number() * 1'000'000);
  welcome.set_message_most_bytes(in_.below(4) == 0 ? in_.number() : 100'000);
  ++epoch_;
  for (std::uint32_t id : {1U, 2U}) {
    if ((how >> id & 1) != 0) continue;
    auto* queue = welcome.add_queues();
    queue->set_id(id);
    queue->set_name(queues[id - 1]);
    queue->set_in_file((how >> (id + 2) & 1) == 0);
    queue->mutable_window()->set_queue(id);
    queue->mutable_window()->set_epoch(epoch_);
    queue->mutable_window()->set_messages(in_.number());
    queue->mutable_window()->set_bytes(in_.number() * 100);
  }
  say(std::move(frame));
}

void Play::confirm() {
  v1::Frame frame;
  for (std::uint32_t runs = 1 + in_.below(4); runs > 0; --runs) {
    auto* run = frame.mutable_confirmed()->add_runs();
    const std::uint64_t back = in_.number();
    run->set_first(back <= sent_ ? sent_ - back : back);
    run->set_count(static_cast<std::uint32_t>(in_.number()));
    run->set_answer(static_cast<v1::Confirmed::Answer>(in_.below(3)));
    run->set_queue(in_.below(4));
    run->set_segment(in_.number());
    run->set_index(in_.byte());
    run->set_reason("because");
  }
  say(std::move(frame));
}

void Play::offer() {
  const std::uint32_t what = in_.byte();
  const std::string body(what > 0xf0 ? in_.number16() : in_.byte(), 'b');
  engine::Outgoing message;
  message.queue = queues[what % 3];
  message.type = (what & 4) != 0 ? "a.B" : "a.A";
  message.body = body;
  if ((what & 8) != 0) message.key = "k";
  if ((what & 16) != 0) message.delay = 1s;
  if ((what & 32) != 0) message.priority = static_cast<Lane>(in_.below(10));
  if ((what & 64) != 0) message.unique_id = "u";
  for (std::uint32_t times = (what & 128) != 0 ? 1 + in_.byte() : 1; times > 0; --times) {
    try {
      const auto number = machine_.offer(message);
      if (!number) {
        (void)machine_.has_room(message.queue);
        break;
      }
      require(unanswered_.insert(*number).second, "a number was given twice");
    } catch (const UnknownQueue&) {
      break;
    } catch (const TooLarge&) {
      break;
    } catch (const Refused&) {
      break;
    }
  }
  hear();
}

void Play::hear() {
  for (const std::string& bytes : machine_.outbox) {
    v1::Frame frame;
    const auto run = protocol::decode(bytes, frame);
    require(!run.has_error(), "what a publisher says does not parse");
    require(frame.number() == ++heard_, "frames to the broker have a gap");
    std::uint64_t bodies = 0;
    std::uint64_t last = 0;
    for (const auto& group : frame.publish().groups()) {
      std::uint64_t sum = 0;
      for (const auto length : group.index().lengths()) sum += length;
      require(!protocol::check(group.index(), sum, Bytes{1 << 24}).has_error(), "a group that any broker refuses");
      require(group.first_number() > last, "numbers in a frame do not go up");
      last = group.first_number() + static_cast<std::uint64_t>(group.index().lengths_size()) - 1;
      sent_ = std::max(sent_, last);
      bodies += sum;
    }
    require(bodies == run->size(), "messages and their run do not fit");
  }
  machine_.outbox.clear();
  for (const auto& answer : machine_.take_answers()) {
    require(answer.count > 0, "an answer to nothing");
    for (std::uint64_t i = answer.first; i < answer.first + answer.count; ++i) {
      require(unanswered_.erase(i) == 1, "an answer to a message that was not waiting for one");
    }
  }
  require(machine_.unanswered() == unanswered_.size(), "the count of unanswered messages is wrong");
}

void Play::step() {
  switch (in_.below(13)) {
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
      return offer();
    case 6:
      machine_.flush(now_);
      return hear();
    case 7:
    case 8:
      return confirm();
    case 9: {
      constexpr std::array<Duration, 5> steps{1ms, 100ms, 1s, 3s, 2h};
      now_ += steps[in_.below(5)];
      machine_.tick(now_);
      return hear();
    }
    case 10:
      machine_.ended(now_, "the peer is gone");
      return hear();
    case 11: {
      v1::Frame frame;
      auto& window = *frame.mutable_window();
      window.set_queue(1 + in_.below(3));
      window.set_epoch(in_.below(4) == 0 ? in_.number() : ++epoch_);
      window.set_messages(in_.number());
      window.set_bytes(in_.number() * 10);
      return say(std::move(frame));
    }
    default: {
      v1::Frame frame;
      auto& error = *frame.mutable_error();
      error.set_code(static_cast<v1::Error::Code>(in_.below(12)));
      error.set_fatal(in_.below(2) == 0);
      error.set_message("no");
      return say(std::move(frame));
    }
  }
}

void Play::end() {
  machine_.flush(now_);
  hear();
  machine_.goodbye(now_);
  hear();
}

}  // namespace

void publisher(std::string_view bytes) {
  Input in(bytes);
  Play play(in);
  for (int steps = 0; !in.empty() && steps < 400; ++steps) play.step();
  play.end();
}

}  // namespace weir::fuzz
