#pragma once

/// The core's notes in the log, each event at a bounded rate: a peer that errs in a loop must not fill a disk.

#include <chrono>
#include <map>
#include <string>

#include "weir/broker/core/action.hpp"

namespace weir::broker {

class NoteLog {
 public:
  void write(const core::Note& note, std::chrono::steady_clock::time_point now);

 private:
  struct Rate {
    std::chrono::steady_clock::time_point since;
    std::uint64_t written{};
    std::uint64_t left_out{};
  };
  std::map<std::string, Rate> rates_;  // by event: the core has some twenty
};

}  // namespace weir::broker
