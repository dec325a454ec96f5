#include "worker_host.hpp"

#include <algorithm>
#include <utility>

#include "shard.hpp"

namespace weir::simulation {

/// The thread that vouches for a process; keep_alive.cpp's machine, without its thread.
class KeepAlive final : public Endpoint {
 public:
  KeepAlive(Stage& stage, Network& network, Clients& clients, std::string name, ProcessId process, ProcessToken token)
      : Endpoint(stage, network, clients, std::move(name), process),
        machine_(client_settings(stage, number()), token) {}
  [[nodiscard]] engine::weir_broker::ClientMachine& machine() override { return machine_; }

 private:
  class Machine final : public engine::weir_broker::ClientMachine {
   public:
    Machine(engine::weir_broker::ClientSettings settings, ProcessToken token)
        : ClientMachine(std::move(settings)), token_(token) {}

   protected:
    void hello(Instant) override {
      v1::Frame head;
      *head.mutable_hello() = hello_of(v1::KEEP_ALIVE);
      head.mutable_hello()->set_process_token(std::string(token_.view()));
      send(head);
    }
    void welcomed(Instant now, const v1::Welcome&) override { vouch(now); }
    void received(Instant, const std::shared_ptr<engine::weir_broker::Received>&) override {}
    void ticked(Instant now) override {
      if (is_up() && now >= next_) vouch(now);
    }
    [[nodiscard]] Instant ticks_next() const override { return is_up() ? next_ : Instant::max(); }

   private:
    void vouch(Instant now) {
      next_ = now + session_timeout() / 4;
      v1::Frame head;
      head.mutable_keep_alive()->set_process_token(std::string(token_.view()));
      send(head);
    }
    ProcessToken token_;
    Instant next_;
  };
  Machine machine_;
};

/// The parent's report of a death: tries until it is answered or its time is over.
class Reporter final : public Endpoint {
 public:
  Reporter(Stage& stage, Network& network, Clients& clients, std::string name, v1::DeathReport report)
      : Endpoint(stage, network, clients, std::move(name), nobody),
        machine_(client_settings(stage, number()), std::move(report)),
        until_us_(stage.clock.now_us + stage.scenario.session_timeout.count()) {}
  [[nodiscard]] engine::weir_broker::ClientMachine& machine() override { return machine_; }
  void changed() override {
    if (machine_.answered || stage_.clock.now_us > until_us_) die();
  }

 private:
  class Machine final : public engine::weir_broker::ClientMachine {
   public:
    Machine(engine::weir_broker::ClientSettings settings, v1::DeathReport report)
        : ClientMachine(std::move(settings)), report_(std::move(report)) {}
    bool answered = false;

   protected:
    void hello(Instant) override {
      v1::Frame head;
      *head.mutable_hello() = hello_of(v1::KEEP_ALIVE);
      send(head);
    }
    void welcomed(Instant, const v1::Welcome&) override {
      v1::Frame head;
      *head.mutable_death() = report_;
      send(head);
    }
    void received(Instant, const std::shared_ptr<engine::weir_broker::Received>& frame) override {
      answered = answered || frame->head().has_control_reply();
    }
    void warned(Instant, const v1::Error&) override { answered = true; }

   private:
    v1::DeathReport report_;
  };
  Machine machine_;
  std::int64_t until_us_;
};

namespace {

ProcessToken token_of(Random random) {
  ProcessToken token;
  for (auto& byte : token.bytes) byte = static_cast<unsigned char>(random.next());
  return token;
}

}  // namespace

ProcessHost::ProcessHost(Stage& stage, Network& network, Clients& clients, std::size_t plan, std::uint32_t number)
    : stage_(stage),
      network_(network),
      clients_(clients),
      plan_(plan),
      number_(number),
      token_(token_of(Random(stage.scenario.seed, 3000 + number))),
      process_(stage.ledger.process_started()),
      random_(stage.scenario.seed, 4000 + number) {
  const ProcessPlan& planned = stage.scenario.processes[plan];
  const std::string name = "worker" + std::to_string(number);
  for (std::uint32_t shard = 0; shard < planned.shards; ++shard) {
    engine::SessionOptions options;
    options.group = "shop";
    options.process = token_;
    options.shard = shard;
    options.window = stage.scenario.window;
    for (const AttachPlan& attach : planned.attach) {
      options.queues.push_back({stage.scenario.queues[attach.queue].name, attach.types});
    }
    shards_.push_back(std::make_unique<Shard>(stage, network, clients, name + "/" + std::to_string(shard), process_,
                                              std::move(options)));
    shards_.back()->host = number;
    shards_.back()->start();
  }
  keep_alive_ = std::make_unique<KeepAlive>(stage, network, clients, name + "/alive", process_, token_);
  keep_alive_->start();
}

ProcessHost::~ProcessHost() = default;

void ProcessHost::end(Uid died_of) {
  dead_ = true;
  drained_by_us_ = 0;
  stage_.ledger.process_ended(process_, died_of);
  for (const auto& shard : shards_) shard->die();
  keep_alive_->die();
}

/// Its flight recorder: who was at work, and who had just ended.
void ProcessHost::write_report(std::int32_t signal) {
  report_.set_process_token(std::string(token_.view()));
  report_.set_signal(signal);
  for (const auto& shard : shards_) shard->report(report_);
}

/// Negative: there is nobody to report it.
void ProcessHost::told_after(std::int64_t time_us) {
  if (time_us < 0) return report_.clear_process_token();
  stage_.in(time_us, EventKind::process_step, number_);
}

void ProcessHost::crash(std::int64_t reported_after_us) {
  stage_.say(("worker" + std::to_string(number_)).c_str(), "dies, %s",
             reported_after_us < 0 ? "and nobody says so" : "and its parent will say so");
  // Who was at work, who was on the CPU; and, after a signal of its own, who took it.
  write_report(random_.percent(50) ? 11 : 9);
  report_.set_on_purpose(report_.signal() == 9 && random_.percent(20));
  std::vector<v1::Started*> at_work;
  for (auto& started : *report_.mutable_started()) {
    if (started.part() == v1::Started::SUSPENDED) at_work.push_back(&started);
  }
  for (v1::Started* started : at_work) {
    if (random_.percent(30)) started->set_part(v1::Started::ON_CPU);
  }
  if (report_.signal() == 11 && !at_work.empty()) {
    v1::Started& culprit = *at_work[random_.below(at_work.size())];
    culprit.set_part(v1::Started::CULPRIT);
    if (reported_after_us >= 0) stage_.ledger.blamed(culprit.queue(), culprit.segment(), culprit.index());
  }
  if (reported_after_us >= 0) stage_.ledger.death_told(process_, report_);
  end(0);
  told_after(reported_after_us);
}

bool ProcessHost::dies_of(Uid uid, HoldingId holding, bool is_told) {
  const Poison kind = poison_of(stage_.scenario, uid);
  const bool is_at = std::any_of(shards_.begin(), shards_.end(), [&](const auto& one) { return one->is_at(holding); });
  if (dead_ || (kind != Poison::left_behind && !is_at)) return false;
  stage_.say(("worker" + std::to_string(number_)).c_str(), "dies of message %u", uid);
  write_report(kind == Poison::on_cpu ? 9 : 11);
  const Place place = stage_.ledger.place_of(uid);
  for (auto& started : *report_.mutable_started()) {
    const bool is_it = started.queue() == stage_.scenario.queues[place.queue - 1].name &&
                       started.segment() == place.segment && started.index() == place.index;
    if (started.part() != v1::Started::SUSPENDED) continue;
    if (is_it && kind == Poison::named) {
      started.set_part(v1::Started::CULPRIT);
      if (is_told) stage_.ledger.blamed(started.queue(), started.segment(), started.index());
    }
    if (kind == Poison::on_cpu && (is_it || random_.percent(20))) started.set_part(v1::Started::ON_CPU);
  }
  stage_.ledger.ended_its_process(uid, holding, stage_.healed);
  if (is_told) stage_.ledger.death_told(process_, report_);
  end(uid);
  told_after(is_told ? random_.between(0, 50'000) : -1);
  return true;
}

void ProcessHost::pause(std::int64_t for_us, bool one_shard) {
  const std::int64_t until = stage_.clock.now_us + for_us;
  const auto only = random_.below(shards_.size());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (!one_shard || i == only) shards_[i]->paused_until_us = until;
  }
  if (!one_shard) keep_alive_->paused_until_us = until;
  // Longer than its leases live: what it held is given back before anything runs on.
  if (!one_shard && for_us > stage_.scenario.session_timeout.count() && random_.percent(50)) {
    for (const auto& shard : shards_) shard->release_all();
  }
}

void ProcessHost::drain(std::int64_t limit_us) {
  if (dead_ || drained_by_us_ != 0) return;
  stage_.say(("worker" + std::to_string(number_)).c_str(), "drains");
  drained_by_us_ = stage_.clock.now_us + limit_us;
  for (const auto& shard : shards_) shard->stop_taking();
  stage_.in(10'000, EventKind::process_step, number_);
}

void ProcessHost::step() {
  if (dead_) {
    if (reporter_ == nullptr && !report_.process_token().empty()) {
      reporter_ = std::make_unique<Reporter>(stage_, network_, clients_, "parent" + std::to_string(number_), report_);
      reporter_->start();
    }
    return;
  }
  if (drained_by_us_ == 0) return;
  const bool late = stage_.clock.now_us >= drained_by_us_;
  if (late) {
    for (const auto& shard : shards_) shard->release_all();
  }
  const bool done = std::all_of(shards_.begin(), shards_.end(),
                                [](const auto& shard) { return shard->is_idle() && shard->unconfirmed() == 0; });
  if (!done && stage_.clock.now_us < drained_by_us_ + 1'000'000) {
    stage_.in(late ? 100'000 : 20'000, EventKind::process_step, number_);
    return;
  }
  for (const auto& shard : shards_) shard->goodbye();
  stage_.say(("worker" + std::to_string(number_)).c_str(), "has said goodbye");
  end(0);
}

void ProcessHost::heal() {
  keep_alive_->paused_until_us = 0;
  for (const auto& shard : shards_) shard->heal();
}

std::uint64_t ProcessHost::unconfirmed() const {
  std::uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->unconfirmed();
  return sum;
}

}  // namespace weir::simulation
