#include "command_table.hpp"

#include <algorithm>
#include <sstream>

#include "table.hpp"

namespace weir::cli {
namespace {

constexpr std::size_t left_width = 26;

/// Adds `text` word by word. The first line begins at column `at`, further lines at column `indent`.
void wrap(std::string_view text, std::size_t at, std::size_t indent, std::size_t width, std::string& out) {
  std::istringstream words{std::string(text)};
  bool first = true;
  for (std::string word; words >> word; first = false) {
    const std::size_t wide = width_of(word);
    if (!first && at + 1 + wide > width) {
      out += "\n" + std::string(indent, ' ');
      at = indent;
    } else if (!first) {
      out += ' ';
      ++at;
    }
    out += word;
    at += wide;
  }
  out += '\n';
}

/// Returns where a shell's line may be broken: the last space before `most` outside quotes, if possible one before an
/// option or a pipe; npos if there is none.
std::size_t break_of(std::string_view line, std::size_t least, std::size_t most) {
  std::size_t any = std::string_view::npos;
  std::size_t good = any;
  bool quoted = false;
  for (std::size_t i = 0; i + 1 < std::min(most, line.size()); ++i) {
    if (line[i] == '\'') quoted = !quoted;
    if (line[i] != ' ' || quoted || i <= least) continue;
    any = i;
    if (line[i + 1] == '-' || line[i + 1] == '|') good = i;
  }
  return good != std::string_view::npos ? good : any;
}

void add_example(std::string line, std::size_t width, std::string& out) {
  constexpr std::size_t further = 6;
  while (width_of(line) > width) {
    const std::size_t at = break_of(line, further, width - 2);
    if (at == std::string::npos) break;
    out += line.substr(0, at) + " \\\n";
    line = std::string(further, ' ') + line.substr(at + 1);
  }
  out += line + "\n";
}

/// Lines that do not begin with two spaces are sentences. Consecutive ones are filled anew.
void add_notes(const std::string& notes, std::size_t width, std::string& out) {
  std::string sentences;
  const auto end_sentences = [&] {
    if (!sentences.empty()) wrap(sentences, 0, 0, width, out);
    sentences.clear();
  };
  std::istringstream lines(notes);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("  ") || line.empty() || line.ends_with(':')) {
      end_sentences();
      add_example(line, width, out);
    } else {
      sentences += line + ' ';
    }
  }
  end_sentences();
}

void add_row(const std::string& left, const std::string& what, std::size_t width, std::string& out) {
  out += "  " + left;
  std::size_t at = 2 + width_of(left);
  if (at + 2 > left_width) {
    out += "\n";
    at = 0;
  }
  out += std::string(left_width - at, ' ');
  wrap(what, left_width, left_width, width, out);
}

void add_options(const char* title, const std::vector<OptionInfo>& options, std::size_t width, std::string& out) {
  if (options.empty()) return;
  out += "\n" + std::string(title) + ":\n";
  for (const OptionInfo& option : options) add_row(option.print(), option.sentence(), width, out);
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

}  // namespace

std::string OptionInfo::print() const { return joined(names, ", ") + (value.empty() ? "" : " " + value); }

std::string OptionInfo::sentence() const {
  std::string text = what;
  if (!choices.empty()) text += ": " + joined(choices, ", ");
  std::string more = range;
  if (repeats) more += std::string(more.empty() ? "" : "; ") + "may be repeated";
  if (!initial.empty()) more += std::string(more.empty() ? "" : "; ") + "default: " + initial;
  return text + (more.empty() ? "" : " (" + more + ")");
}

std::string CommandInfo::usage() const {
  std::string text = path + (options.empty() ? "" : " [OPTIONS]");
  for (const OptionInfo& argument : arguments) {
    const std::string word = argument.names.front() + (argument.repeats ? "…" : "");
    text += argument.required ? " " + word : " [" + word + "]";
  }
  return text + (commands.empty() ? "" : " COMMAND");
}

std::string help_of(const CommandInfo& command, std::size_t width) {
  std::string out;
  wrap(command.what, 0, 0, width, out);
  out += "\n";
  wrap("Usage: " + command.usage(), 0, 7, width, out);
  add_options("Arguments", command.arguments, width, out);
  if (!command.commands.empty()) {
    out += "\nCommands:\n";
    for (const CommandInfo& one : command.commands) add_row(one.name, one.what, width, out);
  }
  add_options("Options", command.options, width, out);
  out += "\n";
  add_notes(command.notes, width, out);
  return out;
}

}  // namespace weir::cli
