#pragma once

/// One side of a conversation with the broker, without I/O: frames and times in, frames out.
///
/// All kinds of client share this: HELLO and WELCOME, counted frames, silence, and when to connect again. The shell
/// (client.hpp) makes and drops connections as the machine says; the simulator plays the shell.
///
/// libzmq's own reconnect silently drops frames in mid-stream. So a connection that ended is never used again: the
/// machine asks for a new one after a growing pause, and says HELLO on it.
///
/// A client's leases and numbers belong to one store. HELLO names that store, and says how many of its commits the
/// client has heard of. So a broker whose data folder was wiped, or replaced by an older copy, does not take them for
/// its own.

#include <google/protobuf/arena.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/message/slice.hpp"
#include "weir/message/units.hpp"
#include "weir/v1/wire.pb.h"

namespace weir::engine::weir_broker {

/// A frame as it came, with its head parsed and its run in place. The head lies in a few blocks: a delivery of many
/// messages would else be many small allocations.
class Received {
 public:
  Received() { clear(); }
  void clear() {
    arena_.Reset();
    head_ = google::protobuf::Arena::CreateMessage<v1::Frame>(&arena_);
  }
  [[nodiscard]] v1::Frame& head() { return *head_; }
  [[nodiscard]] const v1::Frame& head() const { return *head_; }

  Slice bytes;
  std::string_view run;

 private:
  alignas(8) std::array<char, 1024> first_block_;  // most heads need no other
  google::protobuf::Arena arena_{first_block_.data(), first_block_.size()};
  v1::Frame* head_ = nullptr;
};

/// The identity of a client, and its times.
struct ClientSettings {
  std::string build;  ///< program and version; for people
  std::string host;   ///< for people
  std::uint32_t pid{};
  std::uint64_t seed = 1;  ///< of the random part of the pauses
  Duration pause_first = std::chrono::milliseconds(50);
  Duration pause_most = std::chrono::seconds(1);
  Duration welcome_most = std::chrono::seconds(1);  ///< doubles, up to 8 times as long, while no WELCOME comes
};

class ClientMachine {
 public:
  explicit ClientMachine(ClientSettings settings);
  virtual ~ClientMachine() = default;
  ClientMachine(const ClientMachine&) = delete;
  ClientMachine& operator=(const ClientMachine&) = delete;

  // The shell calls these when something happens.
  /// The machine wants a connection from now on.
  void start(Instant now);
  /// A connection is made, or being made. HELLO goes out on it.
  void opened(Instant now);
  void frame(Instant now, Slice bytes);
  /// The connection is gone.
  void ended(Instant now, std::string why);
  void tick(Instant now);
  /// Says GOODBYE if it is connected. The last call.
  void goodbye(Instant now);

  // What the machine wants of its shell. Ask after each of the calls above.
  [[nodiscard]] bool wants_open(Instant now) const {
    return state_ == State::idle && wanted_ && !failure_ && now >= open_at_;
  }
  /// If false, drop the connection, if there is one.
  [[nodiscard]] bool is_open() const { return state_ == State::opening || state_ == State::up; }
  /// The latest time of the next tick.
  [[nodiscard]] Instant next_tick() const;
  /// Encoded frames to send, in order. The shell takes them.
  std::vector<std::string> outbox;

  [[nodiscard]] bool is_up() const { return state_ == State::up; }
  /// The broker's words, if it said no for good.
  [[nodiscard]] const std::optional<std::string>& failure() const { return failure_; }
  /// The reason why there is no connection, as far as is known.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }

 protected:
  /// Sends HELLO, in as many parts as it needs.
  virtual void hello(Instant now) = 0;
  virtual void welcomed(Instant now, const v1::Welcome& welcome) = 0;
  /// Takes a frame of the session, after its WELCOME. Errors and beats do not come here.
  // RULE: silence_is_noticed
  virtual void received(Instant now, const std::shared_ptr<Received>& frame) = 0;
  virtual void disconnected(Instant now) { (void)now; }
  /// Takes an error that did not end the session.
  virtual void warned(Instant now, const v1::Error& error) {
    (void)now;
    (void)error;
  }
  /// The broker ended the session because of what it was sent. Returns false if nothing of that would be sent again.
  [[nodiscard]] virtual bool refused(Instant now, const std::string& why) {
    (void)now;
    (void)why;
    return false;
  }
  virtual void ticked(Instant now) { (void)now; }
  [[nodiscard]] virtual Instant ticks_next() const { return Instant::max(); }

  /// The broker's store, compared with the store of the last session. Ask in welcomed(); the broker judges by the same.
  enum class Store { same, another, older };
  [[nodiscard]] Store store() const { return store_now_; }

  /// The fields that every HELLO has.
  [[nodiscard]] v1::Hello hello_of(v1::Kind kind) const;
  /// Numbers and encodes a frame. `head` is the caller's, to be reused. Returns its number.
  std::uint64_t send(v1::Frame& head, std::string_view run = {});
  /// As above, for a run in several pieces, which are copied once, into the frame.
  std::uint64_t send(v1::Frame& head, std::span<const std::string_view> run);
  /// Ends the connection. The next one comes after a pause.
  void end(Instant now, std::string why);
  /// Ends the machine for good.
  void fail(std::string why);
  [[nodiscard]] bool is_opening() const { return state_ == State::opening; }
  [[nodiscard]] Duration session_timeout() const { return session_timeout_; }
  /// The last turn before the process was away (stopped, or its machine asleep) in this session; Instant::max() if it
  /// was not away. Frames that are read afterwards may be as old as that.
  [[nodiscard]] Instant away_since() const { return away_since_; }

 private:
  enum class State { idle, opening, up, done };

  void error(Instant now, const v1::Error& error);
  void up(Instant now, const v1::Welcome& welcome);
  void heard(const v1::Frame& head);
  /// Every call from outside calls it first. Returns the time since the last turn.
  Duration turned(Instant now);
  [[nodiscard]] Duration welcome_patience() const;
  /// The longest silence: three of the broker's four beats per session timeout.
  [[nodiscard]] Duration silence_most() const { return session_timeout_ * 3 / 4; }

  ClientSettings settings_;
  std::minstd_rand random_;
  State state_ = State::idle;
  bool wanted_ = false;
  Instant open_at_;
  Instant welcome_by_;
  Instant heard_at_;
  Instant turned_at_;
  Instant away_since_ = Instant::max();
  std::uint32_t pauses_ = 0;           // since the last WELCOME
  std::uint32_t welcomes_missed_ = 0;  // likewise
  std::uint64_t number_in_ = 0;
  std::uint64_t number_out_ = 0;
  std::uint64_t connections_ = 0;
  Duration session_timeout_ = std::chrono::seconds(10);
  std::string store_;        // from the last WELCOME
  std::string start_;        // of the broker, from the last WELCOME
  std::uint64_t heard_ = 0;  // the highest count of its commits since then
  Store store_now_ = Store::same;
  std::optional<std::string> failure_;
  std::string last_error_;
  std::shared_ptr<Received> spare_;  // reused if a frame was not kept
};

}  // namespace weir::engine::weir_broker
