#pragma once

/// Man pages, made from the table of commands.

#include <string>

#include "command_table.hpp"

namespace weir::cli {

/// `weir-dead-list.1`
[[nodiscard]] std::string man_name(const CommandInfo& command);
/// In roff, as man(7) says. `root` is the program itself, for what it has in common.
[[nodiscard]] std::string man_page(const CommandInfo& command, const CommandInfo& root, const std::string& version);

}  // namespace weir::cli
