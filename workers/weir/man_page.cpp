#include "man_page.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>

#include "weir/telemetry/characters.hpp"

namespace weir::cli {
namespace {

/// Returns `text` as roff text: no part is a request, and a hyphen can be copied as one.
std::string roff(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out += "\\&";
  while (!text.empty()) {
    const log::Character character = log::first_character(text);
    const char c = text.front();
    text.remove_prefix(character.length);
    if (character.code >= 0x80) {
      std::array<char, 16> escape{};  // not every roff reads UTF-8
      std::snprintf(escape.data(), escape.size(), "\\[u%04X]", static_cast<unsigned>(character.code));
      out += escape.data();
    } else if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '`') {
      out += "\\(ga";
    } else {
      out += c;
    }
  }
  return out;
}

std::string dashed(std::string path) {
  std::ranges::replace(path, ' ', '-');
  return path;
}

void add_options(const char* title, const std::vector<OptionInfo>& options, std::string& out) {
  if (options.empty()) return;
  out += std::string(".SH ") + title + "\n";
  for (const OptionInfo& option : options) {
    out += ".TP\n.B " + roff(option.print()) + "\n" + roff(option.sentence()) + "\n";
  }
}

void add_notes(const std::string& notes, std::string& out) {
  bool as_typed = false;
  const auto turn = [&](bool now) {
    if (now != as_typed) out += now ? ".PP\n.nf\n.RS 2\n" : ".RE\n.fi\n.PP\n";
    as_typed = now;
  };
  std::istringstream lines(notes);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const bool is_example = line.starts_with("  ");
    turn(is_example);
    const bool is_title = line.ends_with(':') && line.find(' ') == std::string::npos;
    if (is_title || line == "Start here:") {
      std::string title = line.substr(0, line.size() - 1);
      std::ranges::transform(title, title.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      out += ".SH " + title + "\n";
    } else if (line.starts_with("Exit codes: ")) {
      out += ".SH EXIT STATUS\n" + roff(line.substr(12)) + "\n";
    } else {
      out += roff(is_example ? line.substr(2) : line) + "\n";
    }
  }
  turn(false);
}

}  // namespace

std::string man_name(const CommandInfo& command) { return dashed(command.path) + ".1"; }

std::string man_page(const CommandInfo& command, const CommandInfo& root, const std::string& version) {
  const std::string name = dashed(command.path);
  std::string out = ".TH " + roff(name) + " 1 \"\" \"weir " + version + "\" \"Weir\"\n";
  out += ".SH NAME\n" + roff(name) + " \\- " + roff(command.what) + "\n";
  out += ".SH SYNOPSIS\n.B " + roff(command.usage()) + "\n";
  add_options("ARGUMENTS", command.arguments, out);
  if (!command.commands.empty()) {
    out += ".SH COMMANDS\n";
    for (const CommandInfo& one : command.commands) {
      out += ".TP\n.BR " + roff(dashed(one.path)) + " (1)\n" + roff(one.what) + "\n";
    }
  }
  add_options("OPTIONS", command.options, out);
  if (command.path != root.path) {
    std::vector<OptionInfo> common = root.options;
    std::erase_if(common, [](const OptionInfo& one) { return one.value.empty(); });  // --help is above
    add_options("OPTIONS OF EVERY COMMAND", common, out);
  }
  add_notes(command.notes, out);
  if (command.path != root.path) {
    const std::string parent = command.path.substr(0, command.path.rfind(' '));
    out += ".SH SEE ALSO\n.BR " + roff(dashed(parent)) + " (1)\n";
  }
  return out;
}

}  // namespace weir::cli
