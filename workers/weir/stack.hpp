#pragma once

/// A stack for people: the names of functions, without the additions of templates and Asio.

#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

/// Makes `shop::charge() in shop.so` of `shop::charge(shop::Order const&, std::vector<…>) [clone .actor] in shop.so`.
[[nodiscard]] std::string short_frame(std::string_view frame);

/// Returns one shortened line per frame of `stack`. Consecutive frames of Asio and the standard library are one line,
/// with their count. The frames below the handler, which differ with the loop's way to it, are one line at the end.
/// Returns no lines if there is no stack.
[[nodiscard]] std::vector<std::string> short_stack(const std::string& stack);

}  // namespace weir::cli
