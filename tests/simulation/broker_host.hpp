#pragma once

/// The broker's shell on the stage: the real core, the real store logic over memory, and a disk that takes its time,
/// fills, fails, and loses what was not synced. As server.cpp and storage_thread.cpp do it, event by event.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "endpoint.hpp"
#include "weir/broker/core/core.hpp"
#include "weir/engine/memory/memory_store.hpp"

namespace weir::simulation {

/// What may happen to the broker: frames that come in, then the rest. The columns of its coverage table.
enum class BrokerEvent : std::uint8_t {
  hello,
  publish,
  settle,
  window,
  keep_alive,
  goodbye,
  death,
  interest,
  other,
  unreachable_client,
  sealed,
  full,
  low,
  written,
  told,
  sync_failed,
  crashed,
  paused,
  replayed,
  purged,
};
[[nodiscard]] std::vector<const char*> broker_events();

class BrokerHost {
 public:
  BrokerHost(Stage& stage, Network& network, Clients& clients);
  ~BrokerHost();

  void start();
  /// kill -9, or the disk failed under it. What was being written is on disk or is not.
  void crash(const char* why);
  void pause(std::int64_t for_us);
  /// The end of a pause, or what was to be one.
  void resume();

  // Events. Those of an earlier life are nobody's.
  void frame(const Event& event);
  void turn();
  void commit_written();
  void commit_told();

  // The data folder, while the broker is down.
  void wipe();
  /// The copy that was made last; false if there is none.
  bool put_back();

  // The disk.
  void slow_disk(std::int64_t for_us, std::int64_t write_us);
  void full_disk(std::int64_t for_us);
  void low_disk(std::int64_t for_us);
  void fail_next_sync() { sync_fails_ = true; }
  void heal();

  /// An operator's request.
  void replay(const std::vector<Place>& places);
  void purge(const std::vector<Place>& places);

  [[nodiscard]] bool is_up() const { return core_ != nullptr; }
  [[nodiscard]] std::uint32_t life() const { return clients_.broker_life; }
  [[nodiscard]] bool is_planned(const Event& turn) const { return turn.a == 1 || turn.c == turns_planned_; }
  [[nodiscard]] std::int64_t paused_until_us() const { return paused_until_us_; }
  /// Checks the ledger's end against what the broker says of itself.
  void check_end() const;
  [[nodiscard]] v1::Queues queues() const;
  /// Nothing is being written, or waits to be.
  [[nodiscard]] bool is_quiet() const { return !writing_ && !core_->wants_commit(); }

 private:
  /// WELCOMEs among the actions from `from` on.
  void note_welcomes(std::size_t from);
  void will_turn(std::int64_t after_us);
  void carry_out();
  void carry_out(core::Send& send);
  void carry_out(core::SendDelivery& send);
  void carry_out(core::Close& close);
  void carry_out(core::Ask&) {}
  void carry_out(core::Note& note);
  void unreachable(LineId line);
  void commit_if_wanted();
  void look_at_room();
  void look_who_read();
  void note_event(BrokerEvent event);
  /// Now and then a copy of the folder is kept.
  void copy_now_and_then();
  void began(std::uint32_t parent, bool wiped);
  [[nodiscard]] bool is_of_this_store(const StoreHeard& heard) const;
  void heard_hello(Line& line, const Endpoint& from);
  void check_welcome(const Line& line, const v1::Welcome& welcome) const;

  Stage& stage_;
  Network& network_;
  Clients& clients_;
  Random random_;
  engine::memory::MemoryStore store_{StoreId{}};  // the disk: outlives the broker's lives
  std::unique_ptr<core::Core> core_;
  core::Actions actions_;
  std::vector<LineId> unreachable_;
  bool looks_who_read_ = false;  ///< in some worlds what a worker does not read is bounded
  std::set<LineId> unread_;      ///< lines with deliveries under way
  v1::Frame head_;
  std::int64_t turn_at_us_{};
  std::uint32_t turns_planned_ = 0;  ///< an earlier plan is void
  Instant ticked_;
  std::int64_t paused_until_us_ = 0, paused_since_us_ = 0;

  // Each store that there was: what it was copied from, and how many commits it had then.
  struct Generation {
    std::uint32_t parent{};  ///< 0: none, it began anew
    std::uint64_t commits{};
    std::uint32_t life{};  ///< the broker's, when it was copied
  };
  std::vector<Generation> generations_{{}};
  struct Copy {
    engine::memory::MemoryStore store;
    std::shared_ptr<const Ledger::Disk> disk;
    std::uint32_t generation{};
    std::uint32_t life{};
  };
  std::optional<Copy> copy_;
  Random copies_;

  std::optional<core::Batch> writing_;  ///< on its way to the disk
  bool written_ = false;                ///< it is there, and the core has not heard of it
  std::int64_t slow_until_us_ = 0, slow_write_us_ = 0;
  std::int64_t full_until_us_ = 0, low_until_us_ = 0;
  bool sync_fails_ = false;
  bool room_ = true;
  bool recovered_ = true;
  std::uint32_t incarnation_ = 0;
  std::map<std::size_t, std::int64_t> heard_us_;  ///< of an endpoint: when it last published, to any life
  std::set<std::size_t> doubted_;                 ///< endpoints that were told that they are not known
};

}  // namespace weir::simulation
