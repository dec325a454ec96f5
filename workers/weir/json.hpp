#pragma once

/// JSON for programs, on standard output.

#include <boost/json.hpp>
#include <string>
#include <string_view>

namespace weir::cli {

/// Valid JSON whatever bytes its texts have: what is no UTF-8 is U+FFFD, and what could steer a terminal is escaped.
[[nodiscard]] std::string text_of(const boost::json::value& value);
/// With a line end.
void print(const boost::json::value& value);

[[nodiscard]] bool is_utf8(std::string_view bytes);
[[nodiscard]] std::string base64(std::string_view bytes);

}  // namespace weir::cli
