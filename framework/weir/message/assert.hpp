#pragma once

/// Assertions of what Weir itself must keep, in every build. Conditions that a peer, a disk or an operator can cause
/// are never assertions: they are values or exceptions.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <source_location>

namespace weir {

/// Prints the condition that does not hold, with the numbers that disagree, and aborts. The supervisor starts the
/// process anew, and what is on disk is whole.
[[noreturn, gnu::cold]] inline void assertion_failed(const char* condition, std::initializer_list<std::uint64_t> values,
                                                     std::source_location where = std::source_location::current()) {
  std::fprintf(stderr, "%s:%u: %s does not hold", where.file_name(), static_cast<unsigned>(where.line()), condition);
  const char* separator = ": ";
  for (const std::uint64_t value : values) {
    std::fprintf(stderr, "%s%llu", separator, static_cast<unsigned long long>(value));
    separator = ", ";
  }
  std::fprintf(stderr, "; report this as a defect of Weir\n");
  std::abort();
}

}  // namespace weir

/// WEIR_ASSERT(condition, numbers…): cheap enough once per batch, not once per message.
#define WEIR_ASSERT(condition, ...) \
  static_cast<void>((condition) || (::weir::assertion_failed(#condition, {__VA_ARGS__}), false))
