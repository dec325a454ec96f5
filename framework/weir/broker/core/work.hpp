#pragma once

/// Work that is too much for one turn: a frame's, or a commit's, that goes on in later ones.
///
/// One frame may bring a lot to do: a HELLO that names 131,072 messages, a SETTLE that gives 65,536 back. Done in one
/// go it would hold up everybody else. So each call of the core has an *effort* that it may spend. What spends it does
/// so step by step, by estimate: no clock is read. When it is spent, what is left is kept, and Core::go_on() goes on
/// with it, each time with a new effort; the frames of others are handled between. Those of the client itself wait.

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
  /// A step of it, until the effort is spent. True: it is done.
  virtual bool go_on(Turn& turn) = 0;
};

}  // namespace weir::broker::core
