#pragma once

/// Tells which callables may be passed to a function whose result is awaited.
///
/// g++ 12 destroys a closure's captures twice when the closure is a temporary of an expression with `co_await`. A named
/// lambda is safe. So is a temporary that captures only references, pointers and numbers.

#include <type_traits>

namespace weir::async {

template <class F>
inline constexpr bool safe_callable =
    std::is_lvalue_reference_v<F> || std::is_trivially_copyable_v<std::remove_cvref_t<F>>;

}  // namespace weir::async
