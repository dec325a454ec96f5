#pragma once

/// The shell of a client machine: it makes and drops connections, carries frames, and tells the time.

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

/// Something that a person should know: an event's name and words ("connection_lost", why).
using Notice = std::function<void(std::string_view event, const std::string& text)>;

/// The monotonic clock, as machines take it.
[[nodiscard]] Instant now();
/// This process, with a seed of its own.
[[nodiscard]] ClientSettings this_process();

/// Thread: the executor's one thread, for everything. `connector` and `machine` outlive it.
class Client final : TransportOwner {
 public:
  Client(asio::any_io_executor executor, Connector& connector, ClientMachine& machine, Notice notice);
  ~Client() override;

  /// To be called once the machine may be used; connects as soon as the machine wants it.
  void start();
  /// After anything was done to the machine: what it has to send leaves, and what it wants of its shell is done.
  void carry_out();
  /// Ends at the next change that may matter to whoever waits: check again then.
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
  asio::steady_timer changed_;  // never expires: whoever waits is woken by its cancellation
  bool received_ = false;       // since the last turn
  bool was_up_ = false;
  std::string told_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // the timer's handler asks whether we still are
};

}  // namespace weir::engine::weir_broker
