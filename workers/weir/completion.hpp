#pragma once

/// Shell completion, made from the table of commands.

#include <string>

#include "command_table.hpp"

namespace weir::cli {

/// Returns the script for the shell: commands, options, and their values (choices, files, folders).
[[nodiscard]] std::string bash_completion(const CommandInfo& root);
[[nodiscard]] std::string zsh_completion(const CommandInfo& root);
[[nodiscard]] std::string fish_completion(const CommandInfo& root);

}  // namespace weir::cli
