#pragma once

/// A stack for people: whose functions they are, without what templates and Asio add to their names.

#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

/// `shop::charge() in shop.so` of `shop::charge(shop::Order const&, std::vector<…>) [clone .actor] in shop.so`.
[[nodiscard]] std::string short_frame(std::string_view frame);

/// A frame a line of `stack`, each shortened. Those of Asio and the standard library that follow each other are one
/// line that counts them; those below the handler, which differ with how its loop came to it, are one line at the end.
/// None if there is no stack.
[[nodiscard]] std::vector<std::string> short_stack(const std::string& stack);

}  // namespace weir::cli
