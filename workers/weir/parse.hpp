#pragma once

/// The command line, read.

#include <functional>
#include <optional>

#include "options.hpp"

namespace weir::cli {

/// What to run; or, without it, the exit code of a command line that was answered at once (help, an error).
struct CommandLine {
  LogOptions log;
  std::function<int()> run;
  int exit_code = done;
};

[[nodiscard]] CommandLine parse(int count, char** words);

}  // namespace weir::cli
