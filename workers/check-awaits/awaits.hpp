#pragma once

/// Finds what g++ 12 miscompiles in an expression with co_await: temporaries of aggregate or closure type, which it
/// copies bit by bit into the coroutine's frame and destroys twice.
///
/// It reads tokens, not types: what only looks dangerous (an aggregate of numbers, a class with constructors) is told
/// too. `// weir: trivial` on the line says that it is none of the dangerous ones.

#include <string>
#include <string_view>
#include <vector>

namespace weir::awaits {

struct Finding {
  std::string file;
  int line = 0;
  std::string text;  ///< what it is, and what to write instead
};

struct Found {
  std::vector<Finding> findings;      ///< by line
  std::vector<std::string> includes;  ///< in quotes, as they stand there
};

/// `file` is its name, for people; a #line in it counts.
[[nodiscard]] Found check(std::string_view source, const std::string& file);

}  // namespace weir::awaits
