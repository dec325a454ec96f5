#pragma once

/// A C++ source as tokens: enough of the language to find full expressions, and no more.

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::awaits {

struct Token {
  enum class Kind { word, number, text, sign };
  Kind kind = Kind::sign;
  std::string_view text;  ///< of the source; a sign is one character, or `::` or `->`
  int line = 0;           ///< from 1; what #line says counts

  [[nodiscard]] bool is(std::string_view what) const { return kind != Kind::text && text == what; }
  [[nodiscard]] bool is_word() const { return kind == Kind::word; }
};

struct Tokens {
  std::vector<Token> all;
  std::string named;                  ///< as #line names the file; empty: it does not
  std::vector<std::string> includes;  ///< in quotes, as they stand there
  std::set<int> trivial;              ///< lines with the comment `// weir: trivial`
};

/// Comments and preprocessor lines are left out. `source` outlives what is returned.
[[nodiscard]] Tokens tokens_of(std::string_view source);

}  // namespace weir::awaits
