#pragma once

/// Reads the command line.

#include <functional>
#include <optional>

#include "options.hpp"

namespace weir::cli {

/// The function to run. Without one, the exit code of a command line that was answered at once (help, an error).
struct CommandLine {
  LogOptions log;
  std::function<int()> run;
  int exit_code = done;
};

[[nodiscard]] CommandLine parse(int count, char** words);

}  // namespace weir::cli
