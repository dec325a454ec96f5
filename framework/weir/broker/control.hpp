#pragma once

/// Looking and steering: an operator's requests. The admin HTTP will call the same functions.

#include <deque>

#include "weir/broker/core/core.hpp"
#include "weir/broker/rights.hpp"

namespace weir::broker {

class Control {
 public:
  /// Both must outlive it.
  Control(core::Core& core, core::Store& store) : core_(core), store_(store) {}

  /// Answers `request`, now or after a commit; a wrong request is answered with words.
  void ask(Now now, core::Connection from, const Peer& peer, const v1::ControlRequest& request, core::Actions& actions);
  /// sealed(): the core's writes up to here are in a batch. committed(): that batch is on disk. (For requests about
  /// *all* dead letters, which are done one page per commit, so that the loop stays free.)
  void sealed();
  void committed(Now now, core::Actions& actions);

 private:
  using Reply = v1::ControlReply;
  void list_dead(const v1::ListDead& wanted, Reply& reply);
  void show_dead(const v1::ShowDead& wanted, Reply& reply);
  template <class Wanted>
  void change_dead(Now now, core::Connection from, const Wanted& wanted, bool replay, Reply& reply,
                   core::Actions& actions);
  [[nodiscard]] std::optional<QueueId> find_queue(const std::string& name, Reply& reply) const;
  [[nodiscard]] std::optional<Place> find_place(const std::string& queue_name, QueueId queue, const std::string& id,
                                                Reply& reply) const;

  /// A request about all dead letters of a queue.
  struct Job {
    core::Connection from{};
    std::uint64_t request{};
    QueueId queue{};
    bool replay = false;
    std::optional<Place> after;  ///< the next page begins behind this
    std::uint64_t total{};
    bool sealed = false;  ///< its last page is in the batch that is being committed
  };
  /// Takes the next page of the first job; answers jobs that are done.
  void advance(Now now, core::Actions& actions);

  core::Core& core_;
  core::Store& store_;
  std::deque<Job> jobs_;  ///< the first one is under way
};

}  // namespace weir::broker
