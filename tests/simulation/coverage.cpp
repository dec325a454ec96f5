#include "coverage.hpp"

#include <algorithm>
#include <cstring>

namespace weir::simulation {
namespace {

std::string short_count(std::uint64_t n) {
  if (n == 0) return ".";
  if (n < 10'000) return std::to_string(n);
  if (n < 10'000'000) return std::to_string(n / 1'000) + "k";
  return std::to_string(n / 1'000'000) + "M";
}

}  // namespace

std::string CoverageTable::print() const {
  std::size_t widest = 0;
  for (const char* event : events_) widest = std::max(widest, std::strlen(event));
  const auto pad = [](std::string text, std::size_t width) {
    text.insert(0, width > text.size() ? width - text.size() : 0, ' ');
    return text;
  };
  std::string out = pad(name_, widest);
  for (const char* state : states_) out += pad(state, 11);
  out += '\n';
  for (std::size_t event = 0; event < events_.size(); ++event) {
    out += pad(events_[event], widest);
    for (std::size_t state = 0; state < states_.size(); ++state) {
      out += pad(short_count(hits_[state * events_.size() + event]), 11);
    }
    out += '\n';
  }
  return out;
}

}  // namespace weir::simulation
