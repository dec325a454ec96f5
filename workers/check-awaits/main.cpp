/// check-awaits [--stamp FILE] [--depfile FILE] SOURCE…: finds code that g++ 12 miscompiles in the sources, and in
/// files that they include in quotes from beside themselves.
///
/// Prints `FILE:LINE: error: …`, as a compiler does, and exits with 1 if there is an error. If there is none, it writes
/// --stamp. --depfile lists, for make or ninja, the files that were read.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "awaits.hpp"

namespace {

namespace fs = std::filesystem;

struct Options {
  fs::path stamp;
  fs::path depfile;
  std::vector<fs::path> sources;
};

Options options_of(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (i + 1 < count && word == "--stamp") {
      options.stamp = words[++i];
    } else if (i + 1 < count && word == "--depfile") {
      options.depfile = words[++i];
    } else {
      options.sources.emplace_back(word);
    }
  }
  return options;
}

}  // namespace

int main(int count, char** words) {
  Options options = options_of(count, words);
  std::set<fs::path> seen;
  std::size_t findings = 0;
  // Included files come behind the files that include them.
  for (std::size_t i = 0; i < options.sources.size(); ++i) {
    const fs::path path = options.sources[i];
    if (!seen.insert(fs::weakly_canonical(path)).second) continue;
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::cerr << "check-awaits: cannot read " << path.string() << "\n";
      return 2;
    }
    const std::string source(std::istreambuf_iterator<char>(file), {});
    const weir::awaits::Found found = weir::awaits::check(source, path.string());
    for (const auto& each : found.findings) {
      std::cerr
          << each.file << ":" << each.line << ": error: " << each.text
          << " [g++ 12 destroys it twice; `// weir: trivial` on this line where it has only numbers and pointers, or "
             "constructors]\n";
    }
    findings += found.findings.size();
    for (const std::string& each : found.includes) {
      const fs::path included = path.parent_path() / each;
      std::error_code none;
      if (fs::is_regular_file(included, none)) options.sources.push_back(included);
    }
  }
  if (!options.depfile.empty()) {
    std::ofstream depfile(options.depfile);
    depfile << options.stamp.string() << ":";
    for (const fs::path& each : seen) depfile << " \\\n  " << each.string();
    depfile << "\n";
  }
  if (findings > 0) return 1;
  if (!options.stamp.empty()) std::ofstream(options.stamp) << "good\n";
  return 0;
}
