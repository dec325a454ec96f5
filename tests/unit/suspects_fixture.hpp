#pragma once

/// Ten messages of one queue, and processes that die with some of them.

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "core_harness.hpp"

namespace weir::broker::core::testing {

/// Ten messages, (1, 1, 0) to (1, 1, 9); process n talks by connection 10 n.
struct Suspects : ::testing::Test {
  static constexpr Connection publisher = 1;
  static constexpr Connection keeper = 4;
  static constexpr auto suspended = v1::Started::SUSPENDED;
  static constexpr auto on_cpu = v1::Started::ON_CPU;
  static constexpr auto ended = v1::Started::ENDED;
  explicit Suspects(std::uint32_t attempts = 3) {
    QueuePolicy policy = written_first();
    policy.attempts = attempts;
    policy.backoff = {1s, 2, 1min, 0};
    broker = std::make_unique<Broker>(std::vector<QueueConfig>{{"orders", policy}});
    broker->open_publisher(publisher);
    broker->publish(publisher, 1, 10);
    broker->commit();
    broker->open_keeper(keeper);
    attach(1);
  }
  static Connection of(unsigned char process) { return process * 10U; }
  void attach(unsigned char process, std::uint64_t window = 100) {
    broker->attach(of(process), token(process), window);
    broker->commit();
  }
  /// Time passes in small steps, while the process is vouched for.
  void live(unsigned char process, Duration time) {
    for (; time > 0ms; time -= 10ms) {
      broker->keep_alive(keeper, token(process));
      broker->pass(10ms);
      broker->commit();
    }
  }
  /// Until it is sent this message, for a minute; all others that it gets are acked.
  bool gets(unsigned char process, std::uint32_t index) {
    for (int i = 0; i < 600 && !held(process).contains(index); ++i) {
      for (const auto& [other, lease] : held(process)) settle(process, other);
      live(process, 100ms);
    }
    return held(process).contains(index);
  }
  using Parts = std::vector<std::pair<std::uint32_t, v1::Started::Part>>;
  void die(unsigned char process, const Parts& parts, bool on_purpose = false) {
    std::vector<v1::Started> started;
    for (const auto& [index, part] : parts) {
      auto& one = started.emplace_back();
      one.set_queue("orders");
      one.set_segment(1);
      one.set_index(index);
      one.set_part(part);
    }
    broker->report(keeper, token(process), started, 9, on_purpose);
    broker->commit();
  }
  /// What the process was sent and has not settled.
  std::map<std::uint32_t, std::uint64_t> held(unsigned char process) {
    std::map<std::uint32_t, std::uint64_t> leases;
    for (const auto& one : broker->deliveries(of(process))) {
      for (int i = 0; i < one.index().lengths_size(); ++i) {
        const std::uint64_t lease = one.lease() + static_cast<std::uint64_t>(i);
        if (!settled.contains(lease)) leases[one.first() + static_cast<std::uint32_t>(i)] = lease;
        if (one.attempt() > 1) charged.insert(one.first());
      }
    }
    return leases;
  }
  std::vector<std::uint32_t> indexes(unsigned char process) {
    std::vector<std::uint32_t> all;
    for (const auto& [index, lease] : held(process)) all.push_back(index);
    return all;
  }
  void settle(unsigned char process, std::uint32_t index, v1::Outcome outcome = v1::ACK) {
    const std::uint64_t lease = held(process).at(index);
    settled.insert(lease);
    broker->settle(of(process), lease, 1, outcome,
                   outcome == v1::DEFER ? std::optional<std::uint64_t>(0) : std::nullopt);
    broker->commit();
  }
  /// The broker's log has such a line.
  bool told(const std::string& event) {
    return std::ranges::any_of(broker->notes, [&](const Note& note) { return note.event == event; });
  }
  v1::Suspicion suspicion(std::uint32_t index) { return broker->record({1, 1, index}).suspicion(); }

  std::unique_ptr<Broker> broker;
  std::set<std::uint64_t> settled;
  std::set<std::uint32_t> charged;
};

}  // namespace weir::broker::core::testing
