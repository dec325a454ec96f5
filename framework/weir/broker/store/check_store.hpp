#pragma once

/// Says which parts of a store are whole, by a look at each of its pages and values. For a stopped store or a copy of
/// one; nothing is written.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "weir/message/ids.hpp"

namespace weir::broker {

struct StoreCheck {
  /// The whole values of one queue, counted.
  struct Queue {
    QueueId id{};
    std::string name;  ///< empty: its state is damaged
    std::uint64_t segments{};
    std::uint64_t messages{};  ///< in these segments, and not settled
    std::uint64_t records{};   ///< delayed, and to be tried again
    std::uint64_t dead{};
    std::uint64_t damaged{};  ///< values of it that are not whole
  };
  struct Damaged {
    QueueId queue{};   ///< 0: of none
    std::string what;  ///< e.g. "segment 4f2a1", "record 4f2a1.17"
    std::string why;
    std::uint64_t messages{};  ///< those that are lost with it; 0 if the number is not known
  };
  std::vector<Queue> queues;
  std::uint64_t sessions{};
  std::uint64_t publishers{};
  std::vector<Damaged> damaged;
  std::string pages;  ///< what is wrong with the file's pages; if anything is, nothing else can be looked at
  [[nodiscard]] bool whole() const { return damaged.empty() && pages.empty(); }
};

/// Throws: StoreError if there is no store in `folder`, it is of another format, or a broker has it.
[[nodiscard]] StoreCheck check_store(const std::filesystem::path& folder);

}  // namespace weir::broker
