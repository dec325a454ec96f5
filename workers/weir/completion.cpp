#include "completion.hpp"

#include <algorithm>
#include <functional>
#include <set>

namespace weir::cli {
namespace {

void each_command(const CommandInfo& command, const std::function<void(const CommandInfo&)>& work) {
  work(command);
  for (const CommandInfo& one : command.commands) each_command(one, work);
}

/// Returns the options of a command: its own, and those of every command.
std::vector<OptionInfo> options_of(const CommandInfo& command, const CommandInfo& root) {
  std::vector<OptionInfo> options = command.options;
  if (command.path == root.path) return options;
  for (const OptionInfo& option : root.options) {
    const bool is_there = std::ranges::find(options, option.names, &OptionInfo::names) != options.end();
    const bool of_all = option.names.back() != "--version";
    if (!is_there && of_all) options.push_back(option);
  }
  return options;
}

std::string words_of(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// Returns every option of any command that takes a value: the next word is no command.
std::string takers(const CommandInfo& root, const char* between) {
  std::set<std::string> names;
  each_command(root, [&](const CommandInfo& command) {
    for (const OptionInfo& option : command.options) {
      if (!option.value.empty()) names.insert(option.names.begin(), option.names.end());
    }
  });
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : between) + name;
  return text;
}

bool is_file(const OptionInfo& option) { return option.value == "FILE" || option.names.front() == "FILE"; }
bool is_folder(const OptionInfo& option) {
  return option.value == "DIR" || option.names.front() == "FOLDER" || option.value == "FOLDER";
}

/// Returns `text` in single quotes, for zsh and fish.
std::string quoted(const std::string& text, const char* quote) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string(quote) : std::string(1, c);
  return out + "'";
}

std::string bash_values(const OptionInfo& option) {
  if (!option.choices.empty()) return "COMPREPLY=($(compgen -W '" + words_of(option.choices) + "' -- \"$word\"))";
  if (is_file(option)) return "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\"))";
  if (is_folder(option)) return "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$word\"))";
  return "COMPREPLY=()";
}

std::string bash_case(const CommandInfo& command, const CommandInfo& root) {
  std::string text = "    '" + command.path + "')\n      case $before in\n";
  std::vector<std::string> flags;
  for (const OptionInfo& option : options_of(command, root)) {
    flags.insert(flags.end(), option.names.begin(), option.names.end());
    if (option.value.empty()) continue;
    std::string names;
    for (const std::string& name : option.names) names += (names.empty() ? "" : "|") + name;
    text += "        " + names + ") " + bash_values(option) + "; return ;;\n";
  }
  text += "      esac\n      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W '" + words_of(flags) +
          "' -- \"$word\")); return; fi\n";
  std::vector<std::string> names;
  for (const CommandInfo& one : command.commands) names.push_back(one.name);
  if (!names.empty()) {
    text += "      COMPREPLY=($(compgen -W '" + words_of(names) + "' -- \"$word\"))\n";
  } else if (!command.arguments.empty()) {
    text += "      " + bash_values(command.arguments.front()) + "\n";
  }
  return text + "      ;;\n";
}

/// Escapes colons and brackets, which zsh's own functions would interpret.
std::string zsh_words(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_values(const OptionInfo& option) {
  const std::string label = option.value.empty() ? option.names.front() : option.value;
  std::string action = " ";
  if (!option.choices.empty()) action = "(" + words_of(option.choices) + ")";
  if (is_file(option)) action = "_files";
  if (is_folder(option)) action = "_files -/";
  return ":" + zsh_words(label) + ":" + action;
}

std::string zsh_function(const CommandInfo& command, const CommandInfo& root) {
  std::string name = command.path;
  std::ranges::replace(name, ' ', '_');
  std::ranges::replace(name, '-', '_');
  std::string text = "_" + name + "() {\n";
  if (!command.commands.empty()) text += "  local state line\n";
  text += "  _arguments -C";
  const auto add = [&](const std::string& words) { text += " \\\n    " + quoted(words, "'\\''"); };
  for (const OptionInfo& option : options_of(command, root)) {
    for (const std::string& each : option.names) {
      add((option.repeats ? "*" : "") + each + "[" + zsh_words(option.what) + "]" +
          (option.value.empty() ? "" : zsh_values(option)));
    }
  }
  for (const OptionInfo& argument : command.arguments) add((argument.repeats ? "*" : "") + zsh_values(argument));
  if (command.commands.empty()) return text + "\n}\n";
  text += " \\\n    '1:command:->command' '*::argument:->argument'\n  case $state in\n    command)\n";
  text += "      local -a commands=(\n";
  for (const CommandInfo& one : command.commands) {
    text += "        " + quoted(one.name + ":" + zsh_words(one.what), "'\\''") + "\n";
  }
  text += "      )\n      _describe command commands ;;\n    argument)\n      case $line[1] in\n";
  for (const CommandInfo& one : command.commands) {
    std::string of = one.name;
    std::ranges::replace(of, '-', '_');
    text += "        " + one.name + ") _" + name + "_" + of + " ;;\n";
  }
  return text + "      esac ;;\n  esac\n}\n";
}

void add_fish(const CommandInfo& command, const CommandInfo& root, std::string& text) {
  const std::string at = "complete -c weir -n '__weir_at \"" + command.path + "\"'";
  for (const CommandInfo& one : command.commands) {
    text += at + " -f -a " + one.name + " -d " + quoted(one.what, "\\'") + "\n";
  }
  for (const OptionInfo& option : options_of(command, root)) {
    text += at;
    for (const std::string& name : option.names) {
      text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    if (!option.value.empty()) text += is_file(option) || is_folder(option) ? " -r -F" : " -x";
    if (!option.choices.empty()) text += " -a '" + words_of(option.choices) + "'";
    text += " -d " + quoted(option.what, "\\'") + "\n";
  }
  if (!command.commands.empty() || command.arguments.empty()) return;
  const OptionInfo& argument = command.arguments.front();
  if (!argument.choices.empty()) text += at + " -f -a '" + words_of(argument.choices) + "'\n";
  text += at + (is_file(argument) || is_folder(argument) ? " -F\n" : " -f\n");
}

}  // namespace

std::string bash_completion(const CommandInfo& root) {
  std::string text =
      "# Made by `weir completion bash`: source it, or put it into ~/.local/share/bash-completion/completions/weir\n"
      "_weir() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} at=weir i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      " +
      takers(root, "|") +
      ") ((++i)); continue ;;\n"
      "      -*) continue ;;\n"
      "    esac\n"
      "    case \"$at ${COMP_WORDS[i]}\" in\n";
  std::string paths;
  each_command(root, [&](const CommandInfo& command) {
    if (command.path != root.path) paths += (paths.empty() ? "'" : "|'") + command.path + "'";
  });
  text += "      " + paths + ") at=\"$at ${COMP_WORDS[i]}\" ;;\n    esac\n  done\n  case $at in\n";
  each_command(root, [&](const CommandInfo& command) { text += bash_case(command, root); });
  return text + "  esac\n}\ncomplete -F _weir weir\n";
}

std::string zsh_completion(const CommandInfo& root) {
  std::string text = "#compdef weir\n# Made by `weir completion zsh`: put it into a folder of $fpath, as `_weir`\n";
  each_command(root, [&](const CommandInfo& command) { text += zsh_function(command, root); });
  return text + "_weir \"$@\"\n";
}

std::string fish_completion(const CommandInfo& root) {
  std::string text =
      "# Made by `weir completion fish`: put it into ~/.config/fish/completions/weir.fish\n"
      "function __weir_at\n"
      "  set -l at weir\n"
      "  set -l skip 0\n"
      "  set -l known";
  each_command(root, [&](const CommandInfo& command) { text += " '" + command.path + "'"; });
  text +=
      "\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    if test $skip = 1\n"
      "      set skip 0\n"
      "    else if contains -- $word " +
      takers(root, " ") +
      "\n"
      "      set skip 1\n"
      "    else if contains -- \"$at $word\" $known\n"
      "      set at \"$at $word\"\n"
      "    end\n"
      "  end\n"
      "  test \"$at\" = \"$argv[1]\"\n"
      "end\n";
  each_command(root, [&](const CommandInfo& command) { add_fish(command, root, text); });
  return text;
}

}  // namespace weir::cli
