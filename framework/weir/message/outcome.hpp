#pragma once

/// How a delivery ends.

#include <cstdint>

namespace weir {

enum class Outcome : std::uint8_t {
  ack = 1,        ///< done
  retry = 2,      ///< failed: again after the backoff; counted
  reject = 3,     ///< will never work: a dead letter now; counted
  release = 4,    ///< given back unfinished: ready at once; not counted
  defer = 5,      ///< later; not counted
  throttled = 6,  ///< as defer, and its queue pauses; not counted
};

}  // namespace weir
