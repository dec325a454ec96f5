#pragma once

/// Assertions of what Weir itself must keep, in every build. What a peer, a disk or an operator can cause is never one:
/// that is a value or an exception.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <source_location>

namespace weir {

/// Says what does not hold, with the numbers that disagree, and aborts: the supervisor starts the process anew, and
/// what is on disk is whole.
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

/// WEIR_ASSERT(condition, numbers…): once a batch is cheap enough, once a message is not.
#define WEIR_ASSERT(condition, ...) \
  static_cast<void>((condition) || (::weir::assertion_failed(#condition, {__VA_ARGS__}), false))
