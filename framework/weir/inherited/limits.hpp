#pragma once

/// Limits of descriptors, threads and addresses, told in a sentence before a library aborts at them.

#include <cstdint>
#include <string_view>

#include "weir/message/error.hpp"
#include "weir/message/units.hpp"

namespace weir::inherited {

/// What a process still needs to start.
struct Needs {
  std::uint64_t descriptors = 0;
  std::uint64_t threads = 0;  ///< each with its stack
  Bytes memory{};             ///< addresses, beside the stacks
};

/// What any command needs to ask a broker something.
inline constexpr Needs of_a_command{.descriptors = 16, .threads = 3, .memory = Bytes{16 << 20}};

struct LimitReached : Error {
  using Error::Error;
};

/// Takes as much as `who` needs and gives it back, some 100 µs for ten threads: who else uses the same limit shows in
/// no figure.
///
/// Throws: LimitReached, with what there is, whose limit it is, and how it is raised.
void need(std::string_view who, const Needs& needs);

}  // namespace weir::inherited
