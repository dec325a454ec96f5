#include "weir/engine/weir/probe.hpp"

#include <algorithm>
#include <utility>

namespace weir::engine::weir_broker {

bool Probe::refused(std::uint64_t under_way, std::uint64_t all) {
  suspects_ = all;
  if (!std::exchange(seen_, true)) return false;  // all is sent once more, unchanged
  const bool found = under_way == 1;
  most_ = found ? std::max<std::uint64_t>(1, all / 2) : std::max<std::uint64_t>(1, under_way / 2);
  return found;
}

void Probe::answered(std::uint64_t messages) {
  if (!seen_) return;
  suspects_ -= std::min(suspects_, messages);
  if (suspects_ == 0) *this = {};
}

}  // namespace weir::engine::weir_broker
