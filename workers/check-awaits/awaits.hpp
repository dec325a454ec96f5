#pragma once

/// Finds the code that g++ 12 miscompiles in an expression with co_await: temporaries of aggregate or closure type,
/// which it copies bit by bit into the coroutine's frame and destroys twice.
///
/// It reads tokens, not types. So it also reports harmless code that looks the same (an aggregate of numbers, a class
/// with constructors). `// weir: trivial` on the line silences it.

#include <string>
#include <string_view>
#include <vector>

namespace weir::awaits {

struct Finding {
  std::string file;
  int line = 0;
  std::string text;  ///< the problem, and what to write instead
};

struct Found {
  std::vector<Finding> findings;      ///< in the order of lines
  std::vector<std::string> includes;  ///< those in quotes, as the source has them
};

/// `file` is its name, for people. A #line in the source changes file and line.
[[nodiscard]] Found check(std::string_view source, const std::string& file);

}  // namespace weir::awaits
