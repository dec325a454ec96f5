#pragma once

/// Man pages, made from the table of commands.

#include <string>

#include "command_table.hpp"

namespace weir::cli {

/// `weir-dead-list.1`
[[nodiscard]] std::string man_name(const CommandInfo& command);
/// Returns the page in roff, by man(7). `root` is the program itself, for the options of all commands.
[[nodiscard]] std::string man_page(const CommandInfo& command, const CommandInfo& root, const std::string& version);

}  // namespace weir::cli
