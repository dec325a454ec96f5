#include <algorithm>

#include "grammar.hpp"
#include "weir/deployment/nearest.hpp"

namespace weir::cli {
namespace {

bool is_dashed(const std::string& word) { return word.starts_with("-"); }

std::vector<std::string> commands_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!sub->get_group().empty()) names.push_back(sub->get_name());
  }
  return names;
}

std::vector<std::string> options_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

}  // namespace

std::string unexpected(const CLI::App& command, const std::vector<std::string>& words) {
  const std::vector<std::string> commands = commands_of(command);
  // If a command is expected, a word that is no command is the mistake: the words after it would be its options.
  auto wrong =
      std::ranges::find_if(words, [&](const std::string& each) { return is_dashed(each) == commands.empty(); });
  if (wrong == words.end()) wrong = words.begin();
  const std::string& word = *wrong;
  const std::vector<std::string> known = is_dashed(word) ? options_of(command) : commands;
  if (std::ranges::find(known, word) != known.end()) {
    return "'" + word + "' stands before the command that it belongs to: write it after '" + command.get_name() + "'";
  }
  const char* kind = is_dashed(word) ? "option" : commands.empty() ? "argument" : "command";
  return std::string("unknown ") + kind + " '" + word + "'" + deployment::did_you_mean(word, known);
}

}  // namespace weir::cli
