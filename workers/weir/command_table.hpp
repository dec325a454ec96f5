#pragma once

/// The command line as a table: `--help`, man pages and shell completion are made from it, and say the same.

#include <string>
#include <vector>

namespace weir::cli {

struct OptionInfo {
  std::vector<std::string> names;    ///< `-f`, `--file`; of an argument that is told by its place: `FILE`
  std::string value;                 ///< what it takes, such as `FILE`; empty: nothing
  std::vector<std::string> choices;  ///< if only these can be taken
  std::string range;                 ///< such as `1 to 1000`; empty: any
  std::string initial;               ///< if it is not given; empty: nothing worth saying
  std::string what;
  bool required = false;
  bool repeats = false;

  /// `-f, --file FILE`
  [[nodiscard]] std::string print() const;
  /// What it is for, what it may be, and what it is if it is not given.
  [[nodiscard]] std::string sentence() const;
};

struct CommandInfo {
  std::string name;  ///< `list`
  std::string path;  ///< `weir dead list`
  std::string what;
  std::string notes;                  ///< a title and examples, sentences; lines that begin with two spaces stay whole
  std::vector<OptionInfo> arguments;  ///< by their place
  std::vector<OptionInfo> options;
  std::vector<CommandInfo> commands;

  /// `weir dead list [OPTIONS] QUEUE`
  [[nodiscard]] std::string usage() const;
};

/// What `--help` prints, no line wider than `width`: words stay whole, and an example goes on in the next line, as a
/// shell takes it.
[[nodiscard]] std::string help_of(const CommandInfo& command, std::size_t width);

}  // namespace weir::cli
