#pragma once

/// The shell of a client machine. It makes and drops connections, carries frames, and tells the time.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "weir/async/task.hpp"
#include "weir/engine/weir/client_machine.hpp"
#include "weir/engine/weir/transport.hpp"

namespace weir::engine::weir_broker {

/// Tells a person something: an event's name and a text ("connection_lost", why).
using Notice = std::function<void(std::string_view event, const std::string& text)>;

/// Returns the time of the monotonic clock, as machines take it.
[[nodiscard]] Instant now();
/// Returns the settings of this process, with a new seed.
[[nodiscard]] ClientSettings this_process();

/// Thread: the executor's one thread, for everything. `connector` and `machine` outlive it.
class Client final : TransportOwner {
 public:
  Client(asio::any_io_executor executor, Connector& connector, ClientMachine& machine, Notice notice);
  ~Client() override;

  /// Call it once the machine may be used. Connects as soon as the machine wants it.
  void start();
  /// Call it after each call of the machine. Sends the machine's frames, and does what it wants of its shell.
  void carry_out();
  /// Waits until something may have changed. Check then what you wait for.
  /// Cancellation: terminal.
  task<> changed();
  void wake() { changed_.cancel(); }

 private:
  void on_frame(Slice bytes) override;
  void on_turn() override;
  void on_ended(std::string why) override;
  void connect();
  void send_all();
  void arm();
  void tell();

  asio::any_io_executor executor_;
  Connector& connector_;
  ClientMachine& machine_;
  Notice notice_;
  std::unique_ptr<Transport> transport_;
  asio::steady_timer timer_;
  Instant armed_for_ = Instant::max();
  asio::steady_timer changed_;  // never expires: its cancellation wakes the waiters
  bool received_ = false;       // since the last turn
  bool was_up_ = false;
  std::string told_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // tells the timer's handler whether the client still exists
};

}  // namespace weir::engine::weir_broker
