#pragma once

/// Checks the limits of descriptors, threads and addresses, with a clear error before a library aborts at them.

#include <cstdint>
#include <string_view>

#include "weir/message/error.hpp"
#include "weir/message/units.hpp"

namespace weir::inherited {

/// The needs of a process that starts.
struct Needs {
  std::uint64_t descriptors = 0;
  std::uint64_t threads = 0;  ///< each has its stack
  Bytes memory{};             ///< addresses, beside the stacks
};

/// The needs of a command that asks a broker.
inline constexpr Needs of_a_command{.descriptors = 16, .threads = 3, .memory = Bytes{16 << 20}};

struct LimitReached : Error {
  using Error::Error;
};

/// Takes as much as `who` needs, and gives it back (some 100 µs for 10 threads). No figure shows how much others use of
/// the same limit.
///
/// Throws: LimitReached, with the available amount, the limit's name, and how to raise it.
void need(std::string_view who, const Needs& needs);

}  // namespace weir::inherited
