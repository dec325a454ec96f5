#pragma once

/// Reads a C++ source as tokens: only as much of the language as is needed to find full expressions.

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::awaits {

struct Token {
  enum class Kind { word, number, text, sign };
  Kind kind = Kind::sign;
  std::string_view text;  ///< a part of the source; a sign is one character, or `::` or `->`
  int line = 0;           ///< from 1; changed by #line

  [[nodiscard]] bool is(std::string_view what) const { return kind != Kind::text && text == what; }
  [[nodiscard]] bool is_word() const { return kind == Kind::word; }
};

struct Tokens {
  std::vector<Token> all;
  std::string named;                  ///< the file's name in #line; empty: there is none
  std::vector<std::string> includes;  ///< those in quotes, as the source has them
  std::set<int> trivial;              ///< lines with the comment `// weir: trivial`
};

/// Leaves out comments and preprocessor lines. Lifetime: `source` outlives the result.
[[nodiscard]] Tokens tokens_of(std::string_view source);

}  // namespace weir::awaits
