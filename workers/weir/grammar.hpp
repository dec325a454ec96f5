#pragma once

/// Declarations for the files that make the grammar. Only they include CLI11, which is slow to compile.

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "command_table.hpp"
#include "options.hpp"

namespace weir::cli {

/// The function that each command runs.
using Runs = std::vector<std::pair<CLI::App*, std::function<int()>>>;

inline constexpr const char* exit_codes = "Exit codes: 0 done, 1 failed, 2 usage or configuration error.";

CLI::App* add_command(CLI::App& parent, Runs& runs, const char* name, const char* what, const std::string& example,
                      std::function<int()> run);
void engine_of(CLI::App* command, EngineOptions& engine);
void types_of(CLI::App* command, std::optional<std::string>& proto, std::optional<std::string>& plugin);

struct LookingOptions {
  ListOptions queues;
  ListOptions workers;
  TopOptions top;
  DeadListOptions dead_list;
  DeadShowOptions dead_show;
  DeadChangeOptions dead_replay;
  DeadChangeOptions dead_purge;
};
/// Adds queues, workers, top and dead. Lifetime: `options` live as long as the grammar.
void add_looking(CLI::App& app, Runs& runs, LookingOptions& options);

/// Returns the command as a table, without hidden options and commands.
[[nodiscard]] CommandInfo describe(const CLI::App& command);

/// Returns the error for `words`, which `command` does not take.
[[nodiscard]] std::string unexpected(const CLI::App& command, const std::vector<std::string>& words);

}  // namespace weir::cli
