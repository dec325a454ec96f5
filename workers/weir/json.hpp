#pragma once

/// JSON for programs, on standard output.

#include <boost/json.hpp>
#include <iostream>

namespace weir::cli {

inline void print(const boost::json::value& value) { std::cout << value << "\n"; }

}  // namespace weir::cli
