#pragma once

/// A thread that looks at the shards, and logs which handler holds its loop while it does so.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "weir/worker/recorder/recorder.hpp"
#include "weir/worker/settings.hpp"

namespace weir::worker {

/// A handler that is past its timeout and cannot be cancelled.
struct Stuck {
  std::uint32_t shard{};
  bool on_loop{};       ///< false: it is in a thread of offload
  std::string message;  ///< its id
};

class Watchdog {
 public:
  /// `settings` and `recorder` outlive it. `types`: the types of a shard's handlers, by their number. `stuck` is called
  /// on the watchdog's thread, once per stuck handler, after the handler was marked in the recorder.
  Watchdog(const GroupSettings& settings, recorder::Recorder& recorder, std::vector<std::string> types,
           std::function<void(const Stuck&)> stuck);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::worker
