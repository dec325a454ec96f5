#include "weir/engine/weir/client_machine.hpp"

#include <algorithm>
#include <utility>

#include "weir/protocol/frame.hpp"

namespace weir::engine::weir_broker {
namespace {

/// A broker's file allows 500 ms to 1 h. Beyond these bounds a beat would turn the loop without end, or overflow.
constexpr Duration session_timeout_least = std::chrono::milliseconds(1);
constexpr Duration session_timeout_most = std::chrono::hours(24);

/// True if trying again will not help.
bool is_final(v1::Error::Code code) {
  switch (code) {
    case v1::Error::WRONG_VERSION:
    case v1::Error::UNKNOWN_QUEUE:
    case v1::Error::TOO_LARGE:
    case v1::Error::NOT_ALLOWED:
      return true;
    default:
      return false;
  }
}

/// True if the error is about a frame's content, not about the client.
bool is_of_content(v1::Error::Code code) { return code == v1::Error::MALFORMED || code == v1::Error::TOO_LARGE; }

}  // namespace

ClientMachine::ClientMachine(ClientSettings settings)
    : settings_(std::move(settings)), random_(static_cast<std::minstd_rand::result_type>(settings_.seed)) {}

void ClientMachine::start(Instant now) {
  turned(now);
  if (wanted_) return;
  wanted_ = true;
  open_at_ = now;
}

void ClientMachine::opened(Instant now) {
  turned(now);
  away_since_ = Instant::max();
  state_ = State::opening;
  welcome_by_ = now + welcome_patience();
  number_in_ = number_out_ = 0;
  outbox.clear();
  hello(now);
}

void ClientMachine::frame(Instant now, Slice bytes) {
  turned(now);
  if (!is_open()) return;
  heard_at_ = now;
  // A batch keeps its frame. If no batch kept the last one, its memory is reused.
  if (spare_ == nullptr || spare_.use_count() > 1) {
    spare_ = std::make_shared<Received>();
  } else {
    spare_->clear();
  }
  const auto received_frame = spare_;
  received_frame->bytes = std::move(bytes);
  v1::Frame& head = received_frame->head();
  const auto run = protocol::decode(received_frame->bytes.bytes, head);
  if (run.has_error()) return end(now, run.error().message);
  received_frame->run = *run;

  if (head.number() == 0 && head.has_error()) return error(now, head.error());
  // RULE: frames_from_the_broker_have_no_gap
  if (head.number() != number_in_ + 1) {
    return end(now, "frame " + std::to_string(head.number()) + " came after frame " + std::to_string(number_in_));
  }
  ++number_in_;
  if (head.has_error()) return error(now, head.error());
  if (state_ == State::opening) {
    if (!head.has_welcome()) return end(now, "the broker's first frame is no WELCOME");
    return up(now, head.welcome());
  }
  if (head.has_beat()) return;
  heard(head);
  received(now, received_frame);
}

void ClientMachine::up(Instant now, const v1::Welcome& welcome) {
  state_ = State::up;
  pauses_ = 0;
  welcomes_missed_ = 0;
  ++connections_;
  last_error_.clear();
  if (welcome.session_timeout_us() > 0) {
    const std::uint64_t said = std::min<std::uint64_t>(welcome.session_timeout_us(), session_timeout_most.count());
    session_timeout_ = std::max(session_timeout_least, Duration(static_cast<Duration::rep>(said)));
  }
  const bool is_new = store_.empty();
  store_now_ = is_new                      ? Store::same
               : welcome.store() != store_ ? Store::another
               : welcome.store_is_older()  ? Store::older
                                           : Store::same;
  // From now on all deliveries that are held are of this store.
  store_ = welcome.store();
  start_ = welcome.start();
  heard_ = welcome.commits();
  welcomed(now, welcome);
}

void ClientMachine::heard(const v1::Frame& head) {
  switch (head.body_case()) {
    case v1::Frame::kDeliver:
      heard_ = std::max(heard_, head.deliver().commits());
      break;
    case v1::Frame::kConfirmed:
      heard_ = std::max(heard_, head.confirmed().commits());
      break;
    case v1::Frame::kSettled:
      heard_ = std::max(heard_, head.settled().commits());
      break;
    case v1::Frame::kControlReply:
      heard_ = std::max(heard_, head.control_reply().commits());
      break;
    default:
      break;
  }
}

Duration ClientMachine::turned(Instant now) {
  const Duration gap = now - turned_at_;
  if (is_open() && gap > silence_most()) away_since_ = std::min(away_since_, turned_at_);
  turned_at_ = now;
  return gap;
}

Duration ClientMachine::welcome_patience() const {
  // The time grows, so that a slow broker can answer at last.
  return settings_.welcome_most * (1U << std::min(welcomes_missed_, 3U));
}

void ClientMachine::error(Instant now, const v1::Error& error) {
  if (!error.fatal() && state_ == State::up) {
    last_error_ = error.message();
    return warned(now, error);
  }
  const bool is_dealt_with = state_ == State::up && is_of_content(error.code()) && refused(now, error.message());
  if (is_final(error.code()) && !is_dealt_with) return fail(error.message());
  end(now, "the broker ended the session: " + error.message());
}

void ClientMachine::ended(Instant now, std::string why) {
  turned(now);
  if (is_open()) end(now, std::move(why));
}

void ClientMachine::end(Instant now, std::string why) {
  if (!is_open()) return;
  state_ = State::idle;
  last_error_ = std::move(why);
  outbox.clear();
  // A random time between half the pause and all of it, so that 1,000 clients do not return as one wave.
  const Duration whole = std::min(settings_.pause_most, settings_.pause_first * (1U << std::min(pauses_, 10U)));
  ++pauses_;
  open_at_ = now + whole / 2 + whole / 2 * (random_() % 1000) / 1000;
  disconnected(now);
}

void ClientMachine::fail(std::string why) {
  failure_ = why;
  last_error_ = std::move(why);
  state_ = State::done;
  outbox.clear();
}

void ClientMachine::goodbye(Instant now) {
  turned(now);
  if (state_ == State::up) {
    v1::Frame head;
    head.mutable_goodbye();
    send(head);
  }
  state_ = State::done;
  wanted_ = false;
}

void ClientMachine::tick(Instant now) {
  // A client that did not turn cannot have heard anything. So it first reads what waits.
  const bool was_away = turned(now) > silence_most() / 3;
  if (state_ == State::opening) {
    if (was_away) welcome_by_ = now + settings_.welcome_most;
    if (now >= welcome_by_)
      end(now, "no WELCOME within " + std::to_string(settings_.welcome_most.count() / 1000) +
                   " ms: what listens there is no Weir broker, or the host is not known or does not answer");
  } else if (state_ == State::up) {
    if (was_away) heard_at_ = now;
    if (now - heard_at_ >= silence_most()) {
      // RULE: silent_connection_is_given_up
      end(now, "nothing heard for " + std::to_string((now - heard_at_).count() / 1000) + " ms");
    }
  }
  ticked(now);
}

Instant ClientMachine::next_tick() const {
  const Instant own = ticks_next();
  switch (state_) {
    case State::idle:
      return wanted_ && !failure_ ? std::min(own, open_at_) : own;
    case State::opening:
      return std::min({own, welcome_by_, turned_at_ + silence_most() / 6});
    case State::up:
      // Ticks often enough to know that the loop turns.
      return std::min({own, heard_at_ + silence_most(), turned_at_ + silence_most() / 6});
    case State::done:
      return Instant::max();
  }
  return own;
}

v1::Hello ClientMachine::hello_of(v1::Kind kind) const {
  v1::Hello hello;
  hello.set_magic(protocol::magic);
  hello.set_version_lowest(protocol::version_lowest);
  hello.set_version_highest(protocol::version_highest);
  hello.set_kind(kind);
  hello.set_build(settings_.build);
  hello.set_host(settings_.host);
  hello.set_pid(settings_.pid);
  hello.set_store(store_);
  hello.set_start(start_);
  hello.set_heard(heard_);
  return hello;
}

std::uint64_t ClientMachine::send(v1::Frame& head, std::string_view run) {
  return send(head, std::span<const std::string_view>(&run, 1));
}

std::uint64_t ClientMachine::send(v1::Frame& head, std::span<const std::string_view> run) {
  head.set_number(++number_out_);
  std::size_t run_bytes = 0;
  for (const std::string_view piece : run) run_bytes += piece.size();
  // The run is appended, so that up to a megabyte need not be set to zero before it is copied over.
  const std::size_t size = protocol::encoded_size(head, run_bytes);
  std::string& bytes = outbox.emplace_back();
  bytes.reserve(size);
  bytes.resize(size - run_bytes);
  protocol::encode_head(head, run_bytes, bytes.data());
  for (const std::string_view piece : run) bytes.append(piece);
  return number_out_;
}

}  // namespace weir::engine::weir_broker
