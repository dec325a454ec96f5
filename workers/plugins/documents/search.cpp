/// documents-search INDEX WORD… prints the best documents with all these words. documents-search INDEX --count prints
/// the number of documents.

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "index.hpp"

int main(int count, char** arguments) {
  if (count < 3) {
    std::fputs("usage: documents-search INDEX WORD…\n       documents-search INDEX --count\n", stderr);
    return 2;
  }
  try {
    documents::Index index(arguments[1], documents::Index::Mode::read);
    if (std::string_view(arguments[2]) == "--count") {
      std::printf("%llu\n", static_cast<unsigned long long>(index.count()));
      return 0;
    }
    std::string words;
    for (int i = 2; i < count; ++i) words.append(arguments[i]).append(" ");
    words.pop_back();
    const auto found = index.search(words, 5);
    std::printf("%llu of %llu documents have '%s'%s\n", static_cast<unsigned long long>(index.matches(words)),
                static_cast<unsigned long long>(index.count()), words.c_str(), found.empty() ? "" : "; the best are");
    for (const auto& document : found) std::printf("  %s\n    %s\n", document.path.c_str(), document.title.c_str());
    return found.empty() ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "documents-search: %s\n", error.what());
    return 2;
  }
}
