#pragma once

/// JSON for programs, on standard output.

#include <boost/json.hpp>
#include <string>
#include <string_view>

namespace weir::cli {

/// Returns valid JSON for any bytes in its texts: bytes that are no UTF-8 become U+FFFD, and characters that could
/// control a terminal are escaped.
[[nodiscard]] std::string text_of(const boost::json::value& value);
/// Prints text_of(value) and a line end.
void print(const boost::json::value& value);

[[nodiscard]] bool is_utf8(std::string_view bytes);
[[nodiscard]] std::string base64(std::string_view bytes);

}  // namespace weir::cli
