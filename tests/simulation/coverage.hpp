#pragma once

/// Which pairs of (state, event) a run has met: what was never met was not tested.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace weir::simulation {

/// Where a message is, as the ledger sees it.
enum class MessageState : std::uint8_t { offered, waiting, record, sent, running, settling, gone, dead, purged };
inline constexpr std::array message_states{"offered",  "waiting", "record", "sent",  "running",
                                           "settling", "gone",    "dead",   "purged"};
/// What the broker is doing.
enum class BrokerState : std::uint8_t { down, recovering, quiet, committing, full };
inline constexpr std::array broker_states{"down", "recovering", "quiet", "committing", "full"};

/// One table: rows are states, columns events; events are named by who adds them.
class CoverageTable {
 public:
  CoverageTable(const char* name, std::vector<const char*> states, std::vector<const char*> events)
      : name_(name), states_(std::move(states)), events_(std::move(events)), hits_(states_.size() * events_.size()) {}

  void hit(std::size_t state, std::size_t event) { ++hits_[state * events_.size() + event]; }
  void add(const CoverageTable& other) {
    for (std::size_t i = 0; i < hits_.size(); ++i) hits_[i] += other.hits_[i];
  }
  [[nodiscard]] const char* name() const { return name_; }
  [[nodiscard]] std::size_t size() const { return hits_.size(); }
  [[nodiscard]] std::size_t met() const {
    std::size_t n = 0;
    for (const auto hits : hits_) n += hits > 0 ? 1U : 0U;
    return n;
  }
  /// A matrix for people: counts, and `.` where a pair was never met.
  [[nodiscard]] std::string print() const;

 private:
  const char* name_;
  std::vector<const char*> states_;
  std::vector<const char*> events_;
  std::vector<std::uint64_t> hits_;
};

}  // namespace weir::simulation
