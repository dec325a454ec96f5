// The broker's disk: one commit at a time, which takes as long as it takes.
#include "broker_host.hpp"

namespace weir::simulation {
namespace {

/// storage_thread.cpp: a commit that found no room is tried again so much later.
constexpr std::int64_t full_pause_us = 100'000;

}  // namespace

void BrokerHost::commit_if_wanted() {
  if (writing_ || core_->commit_due() > stage_.clock.now().instant) return;
  note_event(BrokerEvent::sealed);
  writing_ = core_->seal(stage_.clock.now());
  stage_.ledger.sealed();
  written_ = false;
  std::int64_t takes = within(random_, stage_.scenario.write_us);
  if (stage_.clock.now_us < slow_until_us_) takes += random_.between(0, slow_write_us_);
  stage_.say("broker", "seals commit %llu of %zu writes", static_cast<unsigned long long>(writing_->number),
             writing_->writes.size());
  stage_.in(takes, EventKind::commit_written, 0, life());
}

void BrokerHost::commit_written() {
  if (!writing_ || written_) return;
  if (sync_fails_) {
    note_event(BrokerEvent::sync_failed);
    // What the kernel has of it may reach the disk or not; a broker that went on would confirm it.
    crash("a sync failed");
    stage_.in(random_.between(0, 500'000), EventKind::broker_start, 0, life() + 1);
    return;
  }
  if (stage_.clock.now_us < full_until_us_) {
    note_event(BrokerEvent::full);
    stage_.in(full_pause_us, EventKind::commit_written, 0, life());
    return;
  }
  note_event(BrokerEvent::written);
  // On disk and to be read, before the loop hears of it.
  store_.commit(*writing_);
  stage_.ledger.durable(*writing_, *store_.snapshot());
  written_ = true;
  copy_now_and_then();
  stage_.say("broker", "commit %llu is on disk", static_cast<unsigned long long>(writing_->number));
  stage_.in(random_.between(0, 300), EventKind::commit_told, 0, life());
}

void BrokerHost::commit_told() {
  if (!writing_ || !written_) return;
  note_event(BrokerEvent::told);
  writing_.reset();
  core_->committed(stage_.clock.now(), actions_);
  carry_out();
  commit_if_wanted();
  will_turn(0);
}

void BrokerHost::look_at_room() {
  const bool room = stage_.clock.now_us >= full_until_us_ && stage_.clock.now_us >= low_until_us_;
  if (room == room_) return;
  carry_out();  // what was decided before
  room_ = room;
  if (!room) note_event(BrokerEvent::low);
  core_->room(stage_.clock.now(), room, actions_);
  will_turn(0);
}

void BrokerHost::slow_disk(std::int64_t for_us, std::int64_t write_us) {
  slow_until_us_ = stage_.clock.now_us + for_us;
  slow_write_us_ = write_us;
}

void BrokerHost::full_disk(std::int64_t for_us) { full_until_us_ = stage_.clock.now_us + for_us; }

void BrokerHost::low_disk(std::int64_t for_us) { low_until_us_ = stage_.clock.now_us + for_us; }

void BrokerHost::heal() {
  slow_until_us_ = full_until_us_ = low_until_us_ = 0;
  sync_fails_ = false;
  paused_until_us_ = std::min(paused_until_us_, stage_.clock.now_us);
  resume();
}

}  // namespace weir::simulation
