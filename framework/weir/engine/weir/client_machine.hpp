#pragma once

/// One side of a conversation with the broker, without I/O: frames and times in, frames out.
///
/// What every kind of client shares stands here: HELLO and WELCOME, counted frames, silence, and when to connect again.
/// The shell (client.hpp) makes and drops connections as the machine says; the simulator plays the shell.
///
/// libzmq's own reconnect drops frames in mid-stream without a word, so a connection that ended is never used again:
/// the machine asks for a new one after a growing pause, and says HELLO on it.
///
/// What a client holds is of one store: HELLO says of which, and how many of its commits were heard of, so that a
/// broker whose data folder was wiped, or an older copy of it put back, does not take it for its own.

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

/// A frame as it came: its head parsed, its run where it lies.
struct Received {
  Slice bytes;
  v1::Frame head;
  std::string_view run;
};

/// Who a client is, and how patient.
struct ClientSettings {
  std::string build;  ///< program and version; for people
  std::string host;   ///< for people
  std::uint32_t pid{};
  std::uint64_t seed = 1;  ///< of the pauses' jitter
  Duration pause_first = std::chrono::milliseconds(50);
  Duration pause_most = std::chrono::seconds(1);
  Duration welcome_most = std::chrono::seconds(1);  ///< doubles, up to 8 times as long, while WELCOMEs do not come
};

class ClientMachine {
 public:
  explicit ClientMachine(ClientSettings settings);
  virtual ~ClientMachine() = default;
  ClientMachine(const ClientMachine&) = delete;
  ClientMachine& operator=(const ClientMachine&) = delete;

  // What happens to it.
  /// From now on a connection is wanted.
  void start(Instant now);
  /// A connection is (being) made: HELLO goes out on it.
  void opened(Instant now);
  void frame(Instant now, Slice bytes);
  /// The connection is gone.
  void ended(Instant now, std::string why);
  void tick(Instant now);
  /// Says GOODBYE if there is anyone to say it to; the last thing.
  void goodbye(Instant now);

  // What it wants of its shell, to be asked after each of these.
  [[nodiscard]] bool wants_open(Instant now) const {
    return state_ == State::idle && wanted_ && !failure_ && now >= open_at_;
  }
  /// False: drop the connection, if there is one.
  [[nodiscard]] bool is_open() const { return state_ == State::opening || state_ == State::up; }
  /// To be ticked then at the latest.
  [[nodiscard]] Instant next_tick() const;
  /// Encoded frames to send, in order; the shell takes them.
  std::vector<std::string> outbox;

  [[nodiscard]] bool is_up() const { return state_ == State::up; }
  /// The broker said no for good: in its words.
  [[nodiscard]] const std::optional<std::string>& failure() const { return failure_; }
  /// Why there is no connection, as far as is known.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }

 protected:
  /// Sends HELLO, in as many parts as it needs.
  virtual void hello(Instant now) = 0;
  virtual void welcomed(Instant now, const v1::Welcome& welcome) = 0;
  /// A frame of the session, after its WELCOME. Errors and beats do not come here.
  virtual void received(Instant now, const std::shared_ptr<Received>& frame) = 0;
  virtual void disconnected(Instant now) { (void)now; }
  /// An error that did not end the session.
  virtual void warned(Instant now, const v1::Error& error) {
    (void)now;
    (void)error;
  }
  /// The broker ended the session over what it was sent. False: nothing that would be sent again.
  [[nodiscard]] virtual bool refused(Instant now, const std::string& why) {
    (void)now;
    (void)why;
    return false;
  }
  virtual void ticked(Instant now) { (void)now; }
  [[nodiscard]] virtual Instant ticks_next() const { return Instant::max(); }

  /// What has become of the store that the last session was of: to be asked in welcomed(), the broker judges by it.
  enum class Store { same, another, older };
  [[nodiscard]] Store store() const { return store_now_; }

  /// What every HELLO says.
  [[nodiscard]] v1::Hello hello_of(v1::Kind kind) const;
  /// Numbers and encodes a frame. `head` is the caller's, to be reused. Returns its number.
  std::uint64_t send(v1::Frame& head, std::string_view run = {});
  /// With a run that lies in several pieces: they are copied once, into the frame.
  std::uint64_t send(v1::Frame& head, std::span<const std::string_view> run);
  /// Breaks the connection off; the next comes after a pause.
  void end(Instant now, std::string why);
  /// Ends it for good.
  void fail(std::string why);
  [[nodiscard]] bool is_opening() const { return state_ == State::opening; }
  [[nodiscard]] Duration session_timeout() const { return session_timeout_; }
  /// When it last turned before it was away (stopped, or its machine asleep) in this session; Instant::max(): it was
  /// not. What it reads afterwards may be as old as that.
  [[nodiscard]] Instant away_since() const { return away_since_; }

 private:
  enum class State { idle, opening, up, done };

  void error(Instant now, const v1::Error& error);
  void up(Instant now, const v1::Welcome& welcome);
  void heard(const v1::Frame& head);
  /// Called first by all that comes from outside. Returns how long it had not turned.
  Duration turned(Instant now);
  [[nodiscard]] Duration welcome_patience() const;
  /// How long nothing may be heard: three of the broker's four beats a session timeout.
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
  std::string store_;        // as the last WELCOME said it
  std::string start_;        // of the broker, likewise
  std::uint64_t heard_ = 0;  // of its commits, the highest count since
  Store store_now_ = Store::same;
  std::optional<std::string> failure_;
  std::string last_error_;
  std::shared_ptr<Received> spare_;  // reused where a frame was not kept
};

}  // namespace weir::engine::weir_broker
