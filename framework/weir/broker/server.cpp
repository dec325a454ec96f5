#include "weir/broker/server.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <optional>

#include "weir/broker/address.hpp"
#include "weir/broker/loop.hpp"
#include "weir/broker/options.hpp"
#include "weir/broker/store/map_faults.hpp"
#include "weir/inherited/limits.hpp"
#include "weir/inherited/stop_words.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

/// A stop waits at most this long for its last commit; only a full disk takes longer.
constexpr auto stop_most = 10s;
/// Room for at most so many actions of a turn is kept for the next.
constexpr std::size_t actions_kept_most = 16 * 1024;
/// Ticks come no more often: due times are to the millisecond.
constexpr Duration tick_least = 1ms;

constexpr const char* store_damage = "store_value_damaged";

/// Logs the damage that a start found.
void tell_damage(const core::Recovered& recovered, const std::string& file) {
  constexpr std::size_t told_most = 50;
  for (std::size_t i = 0; i < recovered.damaged.size(); ++i) {
    const auto& damaged = recovered.damaged[i];
    const bool last = i + 1 == told_most;
    log::error(store_damage,
               {{"queue_number", damaged.queue},
                {"what", damaged.what},
                {"messages", damaged.messages.value},
                {"more", last ? recovered.damaged.size() - told_most : 0},
                {"doing", "set aside, and left in the store as it is; weir check-store says what is whole"},
                {"file", file}});
    if (last) return;
  }
}

}  // namespace

Now now() {
  return {Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())),
          std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())};
}

Server::Loop::Loop(BrokerSettings settings, std::vector<core::QueueConfig> queues)
    : settings_(std::move(settings)),
      store_({.data = settings_.data, .durability = settings_.durability, .reserve = settings_.reserve}),
      admission_(settings_) {
  const Address address = parse_listen(settings_.listen);
  const async::SocketOptions options = socket_options(settings_);
  // The address comes before the store: a start that fails on its address must not raise the incarnation.
  pump_.emplace(io_.get_executor(), zmq_, options, *this);
  listen(address);
  core::Recovered recovered = store_.recover();
  const std::uint32_t incarnation = recovered.incarnation;
  tell_damage(recovered, store_.file_name());
  core_.emplace(core_config(settings_, std::move(queues)), std::move(recovered), store_, now());
  control_.emplace(*core_, store_);
  const bool room = store_.tend_room();
  core_->room(now(), room, actions_);
  storage_.emplace(store_, settings_.reserve, io_.get_executor(), *this);
  log::info(
      "broker_listening",
      {{"url", url_}, {"data", settings_.data.string()}, {"incarnation", incarnation}, {"build", settings_.build}});
}

void Server::Loop::listen(const Address& address) {
  const std::string at = address.host + ":" + std::to_string(address.port);
  try {
    pump_->bind("tcp://" + (address.port == 0 ? address.host + ":*" : at));
  } catch (const Error& error) {
    if (std::string_view(error.what()).find(std::strerror(EADDRINUSE)) != std::string_view::npos) {
      throw Error("cannot listen on " + at +
                  ": the port is in use by another program; stop that one, or choose another port in `broker.listen`");
    }
    throw Error("cannot listen on " + at + ": " + error.what());
  }
  url_ = "weir://" + pump_->endpoint().substr(std::string_view("tcp://").size());
}

int Server::Loop::run() {
  arm_timer();
  pump_->kick();
  try {
    io_.run();
  } catch (const std::exception& error) {
    on_broken(error.what());
  }
  storage_.reset();
  // Frames that are still to be sent leave with the socket, within its linger.
  pump_.reset();
  return exit_code_;
}

void Server::Loop::stop() {
  asio::post(io_, [this] {
    if (stopping_ != Stopping::no) return;
    log::info("broker_stopping");
    stopping_ = Stopping::asked;
    pump_->kick();
    patience_.expires_after(stop_most);
    patience_.async_wait([this](const boost::system::error_code& error) {
      if (!error) on_broken("stopped before its last commit was on disk: what that held is not confirmed");
    });
  });
}

void Server::Loop::stop_on_signals() {
  for (const int each : inherited::stop_signals()) signals_.add(each);
  await_signal();
}

void Server::Loop::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    using Says = inherited::StopWords::Says;
    const Says says = words_.hear(signal, stopping_ != Stopping::no);
    if (says == Says::stop_at_once) return on_broken("a second signal: stopped at once");
    if (says == Says::drain) stop();
    await_signal();
  });
}

void Server::Loop::on_turn() {
  const Now at = now();
  admission_.look_if_due(at.instant, pump_->drained());
  for (const core::Connection gone : admission_.peers().take_gone()) disconnected(gone);
  tell_read(at);
  tick_if_due(at);
  go_on_if_due(at);
  carry_out();
  tell_read(at);  // of peers that were sent much
  carry_out();
  commit_if_wanted();
  arm_timer();
  end_if_done();
}

void Server::Loop::tell_read(Now at) {
  for (const auto& [connection, bytes] : admission_.peers().take_read()) {
    core_->read(at, connection, bytes, actions_);
  }
}

void Server::Loop::tick_if_due(Now at) {
  if (core_->next_tick() > at.instant || at.instant - ticked_ < tick_least) return;
  ticked_ = at.instant;
  core_->tick(at, actions_);
}

void Server::Loop::go_on_if_due(Now begun) {
  const auto wants = [this] { return core_->has_work() || later_.is_asked() || heavy_.waits(); };
  if (later_.may_go_on(begun.instant) && wants()) {
    if (core_->has_work()) core_->go_on(begun, actions_);
    if (const auto ask = later_.next_asked()) control_->ask(begun, ask->from, Peer{}, ask->request, actions_);
    if (heavy_.waits()) handle_heavy(now().instant + Heavy::handled_for);
    later_.went_on(begun.instant, now().instant);
  }
  if (wants()) turn_again();
}

void Server::Loop::arm_timer() {
  Instant next = std::max(std::min(core_->next_tick(), admission_.peers().next_look()), ticked_ + tick_least);
  // A commit that is due at once is due at Instant::min(), a time that the timer's clock does not have.
  if (!committing_ && stopping_ == Stopping::no) next = std::min(next, std::max(core_->commit_due(), ticked_));
  if (next >= armed_for_) return;  // a timer that is too early costs a turn; re-arming it costs a system call
  armed_for_ = next;
  timer_.expires_at(std::chrono::steady_clock::time_point(next.time_since_epoch()));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;  // re-armed
    armed_for_ = Instant::max();
    pump_->kick();
  });
}

void Server::Loop::carry_out() {
  // By index: an answer may bring further actions.
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    core::Action action = std::move(actions_[i]);
    std::visit([this](auto& one) { carry_out(one); }, action);
  }
  if (actions_.capacity() > actions_kept_most) {
    actions_ = {};
  } else {
    actions_.clear();
  }
  snapshot_.reset();
}

void Server::Loop::carry_out(core::Send& send) {
  const auto* to = connections_.find(send.to);
  if (to == nullptr) return;
  async::ZmqFrame frame(protocol::encoded_size(send.frame, 0));
  protocol::encode_head(send.frame, 0, frame.data());
  transmit(*to, std::move(frame));
  if (send.frame.has_welcome()) admission_.peers().welcomed(to->second.tcp);
}

void Server::Loop::carry_out(core::Close& close) {
  if (const auto* known = connections_.find(close.connection)) {
    admission_.peers().ended(now().instant, known->second.tcp);
  }
  connections_.forget(close.connection);
}

void Server::Loop::carry_out(core::Ask& ask) {
  if (later_.ask(ask)) return turn_again();
  v1::ControlReply reply;
  reply.set_id(ask.request.id());
  reply.set_error("more than " + std::to_string(Later::asked_most) + " requests wait; ask again later");
  core_->reply(ask.from, std::move(reply), actions_);
}

void Server::Loop::carry_out(core::SendDelivery& send) {
  const auto* to = connections_.find(send.to);
  if (to == nullptr) return;
  if (!snapshot_) snapshot_ = store_.snapshot();
  std::vector<core::Piece> damaged;
  transmit(*to, delivering_.frame(send, *snapshot_, damaged));
  if (!damaged.empty()) core_->undelivered(now(), send.to, damaged, actions_);
}

void Server::Loop::carry_out(core::Note& note) {
  if (note.event == store_damage) note.fields.emplace_back("file", store_.file_name());
  notes_.write(note, std::chrono::steady_clock::now());
}

void Server::Loop::transmit(const Connections::Peer& to, async::ZmqFrame frame) {
  admission_.peers().sent(to.second.tcp, frame.size());
  pump_->send(to.first, std::move(frame));
}

void Server::Loop::commit_if_wanted() {
  if (committing_ || stopping_ >= Stopping::last_commit || !core_->wants_commit()) return;
  if (stopping_ == Stopping::no && core_->commit_due() > now().instant) return;
  if (stopping_ == Stopping::asked) stopping_ = Stopping::last_commit;
  committing_ = true;
  control_->sealed();
  storage_->commit(core_->seal(now()));
}

void Server::Loop::end_if_done() {
  if (stopping_ == Stopping::no || committing_) return;
  if (stopping_ != Stopping::flushing) {
    // This turn sends what was queued; the next one may see that it is gone.
    stopping_ = Stopping::flushing;
    pump_->kick();
    return turn_again();
  }
  if (pump_->queued() > 0) return pump_->kick();
  log::info("broker_stopped");
  io_.stop();
}

void Server::Loop::on_committed(const std::vector<core::Damage>& damaged) {
  committing_ = false;
  if (!damaged.empty()) core_->damaged(damaged);
  const Now at = now();
  core_->committed(at, actions_);
  control_->committed(at, actions_);
  carry_out();
  commit_if_wanted();
  pump_->kick();
}

void Server::Loop::on_room(bool enough) {
  core_->room(now(), enough, actions_);
  pump_->kick();
}

void Server::Loop::on_broken(const std::string& why) {
  log::error("broker_failed", {{"why", why}});
  exit_code_ = 1;
  io_.stop();
}

Server::Server(BrokerSettings settings, std::vector<core::QueueConfig> queues)
    : loop_(std::make_unique<Loop>(std::move(settings), std::move(queues))) {}
Server::~Server() = default;

const std::string& Server::url() const { return loop_->url(); }
int Server::run() { return loop_->run(); }
void Server::stop() { loop_->stop(); }
void Server::stop_on_signals() { loop_->stop_on_signals(); }

int run_broker(BrokerSettings settings, std::vector<core::QueueConfig> queues) {
  // Each connection needs one more: `few_descriptors` says for how many there is room.
  inherited::need("weir broker", {.descriptors = 32, .threads = 6, .memory = Bytes{16 << 20}});
  const std::filesystem::path data = settings.data;
  Server server(std::move(settings), std::move(queues));
  name_map_faults(data);
  server.stop_on_signals();
  return server.run();
}

}  // namespace weir::broker
