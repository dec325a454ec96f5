#pragma once

/// The broker's loop: what server.hpp runs.

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "weir/async/zmq_pump.hpp"
#include "weir/broker/address.hpp"
#include "weir/broker/admission.hpp"
#include "weir/broker/connections.hpp"
#include "weir/broker/control.hpp"
#include "weir/broker/delivering.hpp"
#include "weir/broker/free_memory.hpp"
#include "weir/broker/heavy.hpp"
#include "weir/broker/later.hpp"
#include "weir/broker/note_log.hpp"
#include "weir/broker/server.hpp"
#include "weir/broker/storage_thread.hpp"
#include "weir/inherited/stop_words.hpp"

namespace weir::broker {

namespace asio = boost::asio;

[[nodiscard]] Now now();

class Server::Loop final : public async::PumpOwner, public StorageListener {
 public:
  Loop(BrokerSettings settings, std::vector<core::QueueConfig> queues);

  [[nodiscard]] const std::string& url() const { return url_; }
  int run();
  void stop();
  void stop_on_signals();

 private:
  void await_signal();
  // Of the pump.
  void on_frame(std::string_view peer, async::ZmqFrame frame) override;
  void on_malformed(std::string_view peer, std::size_t parts) override;
  void on_unreachable(std::string_view peer) override;
  void on_turn() override;
  void on_monitor(const async::MonitorEvent& event) override { admission_.on_monitor(now().instant, event); }
  // Of the storage thread.
  void on_committed(const std::vector<core::Damage>& damaged) override;
  void on_room(bool enough) override;
  void on_broken(const std::string& why) override;

  void listen(const Address& address);
  core::Connection heard(std::string_view peer, int descriptor);
  void handle(Now at, std::string_view peer, core::Connection from, async::ZmqFrame frame);
  /// Handles frames of heavy peers that wait, until that time.
  void handle_heavy(Instant until);
  void disconnected(core::Connection gone);
  /// Asks for another turn. For use within a turn, which does not do what follows.
  void turn_again() {
    asio::post(io_, [this] { pump_->kick(); });
  }
  void tick_if_due(Now at);
  void arm_timer();
  void carry_out();
  void carry_out(core::Send& send);
  void carry_out(core::SendDelivery& send);
  void transmit(const Connections::Peer& to, async::ZmqFrame frame);
  void tell_read(Now at);
  void carry_out(core::Close& close);
  void carry_out(core::Ask& ask);
  void carry_out(core::Note& note);
  void go_on_if_due(Now begun);
  void commit_if_wanted();
  void end_if_done();

  const BrokerSettings settings_;
  std::string url_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer timer_{io_};
  asio::steady_timer patience_{io_};
  asio::signal_set signals_{io_};
  inherited::StopWords words_;
  Instant armed_for_ = Instant::max();
  Instant ticked_;

  LmdbStore store_;
  std::optional<core::Core> core_;
  std::optional<Control> control_;
  Admission admission_;
  Connections connections_;
  Delivering delivering_;
  NoteLog notes_;

  // Heads are parsed into one piece of memory, frame after frame.
  std::array<char, 64 * 1024> heads_;
  google::protobuf::Arena arena_{heads_.data(), heads_.size()};
  core::Actions actions_;                     // of this turn
  std::unique_ptr<core::Snapshot> snapshot_;  // of this turn

  Later later_;
  Heavy heavy_;

  bool committing_ = false;
  enum class Stopping { no, asked, last_commit, flushing } stopping_ = Stopping::no;
  int exit_code_ = 0;

  FreeMemory free_memory_;
  async::ZmqContext zmq_;
  std::optional<async::ZmqPump> pump_;
  std::optional<StorageThread> storage_;  // last: its end waits for a running commit
};

}  // namespace weir::broker
