#include "weir/message/policy.hpp"

#include <algorithm>
#include <cmath>

namespace weir {

Duration pause_after(const Backoff& backoff, std::uint32_t attempts, double random) {
  const double most = static_cast<double>(backoff.most.count());
  const double exponent = attempts > 0 ? static_cast<double>(attempts - 1) : 0.0;
  const double plain = std::min(most, static_cast<double>(backoff.first.count()) * std::pow(backoff.factor, exponent));
  return bounded(std::chrono::duration<double, Duration::period>(plain * (1 + backoff.jitter * random)));
}

}  // namespace weir
