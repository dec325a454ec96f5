#include "endpoint.hpp"

#include <algorithm>
#include <utility>

#include "weir/protocol/frame.hpp"

namespace weir::simulation {

Endpoint::Endpoint(Stage& stage, Network& network, Clients& clients, std::string name, ProcessId process)
    : stage_(stage),
      network_(network),
      clients_(clients),
      name_(std::move(name)),
      process_(process),
      number_(static_cast<std::uint32_t>(clients.all.size())) {
  clients_.all.push_back(this);
}

void Endpoint::start() {
  machine().start(stage_.clock.instant());
  carry_out();
}

void Endpoint::carry_out() {
  if (dead_) return;
  auto& outbox = machine().outbox;
  if (line_ != 0) {
    for (std::string& frame : outbox) network_.send_up(line_, std::move(frame));
  }
  outbox.clear();
  if (line_ != 0 && !machine().is_open()) {
    stage_.say(name_.c_str(), "drops line %u: %s", line_, machine().last_error().c_str());
    network_.hang_up(line_);
    line_ = 0;
  }
  if (line_ == 0 && machine().wants_open(stage_.clock.instant())) {
    line_ = network_.open(number_, clients_.broker_life);
    network_.line(line_).speaks_of = heard_;
    network_.line(line_).store = clients_.store;
    stage_.say(name_.c_str(), "opens line %u", line_);
    if (!clients_.broker_listens) network_.cut(line_, false);  // refused
    machine().opened(stage_.clock.instant());
    for (std::string& frame : outbox) network_.send_up(line_, std::move(frame));
    outbox.clear();
  }
  if (machine().failure()) {
    throw Broken("clients_that_keep_the_rules_are_not_refused", name_ + ": " + *machine().failure());
  }
  arm();
}

void Endpoint::arm() {
  const auto next = machine().next_tick();
  if (next == Instant::max()) return;
  const std::int64_t at = std::max(next.time_since_epoch().count(), stage_.clock.now_us);
  if (at >= armed_for_us_) return;
  armed_for_us_ = at;
  stage_.agenda.add(at, EventKind::client_tick, number_, ++ticks_planned_);
}

void Endpoint::frame(LineId from, std::string bytes) {
  if (dead_ || from != line_) return;
  if (stage_.scenario.stores_change) hear(from, bytes);
  silent_us_ = std::max(silent_us_, stage_.clock.now_us - std::exchange(heard_at_us_, stage_.clock.now_us));
  machine().frame(stage_.clock.instant(), Slice::of(std::move(bytes)));
  changed();
  if (std::exchange(heard_on_, line_) != line_) silent_before_us_ = std::exchange(silent_us_, 0);
  carry_out();
}

void Endpoint::hear(LineId from, const std::string& bytes) {
  v1::Frame head;
  if (!protocol::decode(bytes, head)) return;
  if (head.has_welcome()) heard_ = {network_.line(from).store, head.welcome().commits(), network_.line(from).life};
  heard_.commits = std::max({heard_.commits, head.deliver().commits(), head.confirmed().commits(),
                             head.settled().commits(), head.control_reply().commits()});
}

void Endpoint::ended(LineId line) {
  if (dead_ || line != line_) return;
  machine().ended(stage_.clock.instant(), "the connection is gone");
  changed();
  carry_out();
}

void Endpoint::tick() {
  armed_for_us_ = std::numeric_limits<std::int64_t>::max();
  if (dead_) return;
  machine().tick(stage_.clock.instant());
  changed();
  carry_out();
}

void Endpoint::die() {
  dead_ = true;
  if (line_ != 0) network_.hang_up(line_);
  line_ = 0;
}

engine::weir_broker::ClientSettings client_settings(const Stage& stage, std::uint64_t salt) {
  engine::weir_broker::ClientSettings settings;
  settings.build = "simulation";
  settings.host = "here";
  settings.pid = static_cast<std::uint32_t>(salt);
  settings.seed = Random(stage.scenario.seed, 1000 + salt).next() | 1;
  return settings;
}

}  // namespace weir::simulation
