#pragma once

/// The command line as a table. `--help`, man pages and shell completion are made from it, so they say the same.

#include <string>
#include <vector>

namespace weir::cli {

struct OptionInfo {
  std::vector<std::string> names;    ///< `-f`, `--file`; for a positional argument: `FILE`
  std::string value;                 ///< its value, such as `FILE`; empty: it takes none
  std::vector<std::string> choices;  ///< the only allowed values, if there are such
  std::string range;                 ///< such as `1 to 1000`; empty: any
  std::string initial;               ///< the default; empty: none to print
  std::string what;
  bool required = false;
  bool repeats = false;

  /// `-f, --file FILE`
  [[nodiscard]] std::string print() const;
  /// Its purpose, its allowed values, and its default.
  [[nodiscard]] std::string sentence() const;
};

struct CommandInfo {
  std::string name;  ///< `list`
  std::string path;  ///< `weir dead list`
  std::string what;
  std::string notes;                  ///< a title and examples, or sentences; lines that begin with two spaces are kept
  std::vector<OptionInfo> arguments;  ///< positional, in their order
  std::vector<OptionInfo> options;
  std::vector<CommandInfo> commands;

  /// `weir dead list [OPTIONS] QUEUE`
  [[nodiscard]] std::string usage() const;
};

/// Returns the text of `--help`, with no line wider than `width`. Words stay whole, and an example continues on the
/// next line in a form that a shell takes.
[[nodiscard]] std::string help_of(const CommandInfo& command, std::size_t width);

}  // namespace weir::cli
