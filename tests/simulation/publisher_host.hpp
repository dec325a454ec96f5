#pragma once

/// A publisher: the real producer machine, and somebody who has messages for it.

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "endpoint.hpp"
#include "weir/engine/weir/producer_machine.hpp"

namespace weir::simulation {

class PublisherHost final : public Endpoint {
 public:
  PublisherHost(Stage& stage, Network& network, Clients& clients, std::string name, std::uint32_t messages);

  [[nodiscard]] engine::weir_broker::ClientMachine& machine() override { return machine_; }
  void changed() override;
  [[nodiscard]] bool is_publisher() const override { return true; }
  /// The next few messages.
  void publish();
  /// It dies: what is unanswered stays unanswered. Returns how many it never came to publish.
  std::uint32_t crash();

  [[nodiscard]] bool is_done() const { return is_dead() || (left_ == 0 && waiting_.empty()); }

 private:
  struct Waiting {
    Uid uid{};
    std::size_t queue{};
    std::size_t type{};
    Lane lane{};
    std::int64_t delay_us{};
    std::int64_t deliver_at_us{};
    std::string body;
  };
  void make_one();
  void offer_waiting();

  PublisherId id_;
  engine::weir_broker::ProducerMachine machine_;
  Random random_, times_;
  std::uint32_t left_;
  std::deque<Waiting> waiting_;  // made, and not taken yet for want of credit
  std::vector<Uid> numbers_{0};  // by the machine's numbers, from 1
};

void publish(Endpoint& publisher);

}  // namespace weir::simulation
