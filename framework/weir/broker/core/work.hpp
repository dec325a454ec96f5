#pragma once

/// Work that is too much for one turn, and goes on in later ones: of a frame, of a commit, or of a death.
///
/// One frame may bring much work: a HELLO that names 131,072 messages, a SETTLE that gives 65,536 back. Done in one go
/// it would hold up all other clients. So each call of the core has an *effort* that it may spend. Each step spends
/// some of it, by estimate: no clock is read. When the effort is spent, the rest is kept, and Core::go_on() goes on
/// with it, each time with a new effort. Frames of other clients are handled between; frames of the same client wait.

#include <cstdint>
#include <memory>

#include "weir/broker/core/action.hpp"
#include "weir/message/units.hpp"

namespace weir::broker::core {

struct Turn;

/// What a call may still cost, in nanoseconds of the loop's thread, by estimate.
class Effort {
 public:
  void refill(std::int64_t ns) { left_ = ns; }
  void spend(std::int64_t ns) { left_ -= ns; }
  [[nodiscard]] bool spent() const { return left_ <= 0; }

 private:
  std::int64_t left_ = 0;
};

class Work {
 public:
  Work() = default;
  virtual ~Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  /// Does some of it, until the effort is spent. True: all is done.
  virtual bool go_on(Turn& turn) = 0;
};

}  // namespace weir::broker::core
