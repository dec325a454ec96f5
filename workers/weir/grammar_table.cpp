#include "grammar.hpp"

namespace weir::cli {
namespace {

/// CLI11 puts a validator's words behind the type's: `UINT:UINT in [1 - 1024]`, `TEXT:{text,json}`.
void read_type(const std::string& type, OptionInfo& info) {
  const auto colon = type.find(':');
  const std::string value = type.substr(0, colon);
  const std::string allowed = colon == std::string::npos ? "" : type.substr(colon + 1);
  const bool is_number = value == "UINT" || value == "INT" || value == "FLOAT";
  info.value = is_number ? "N" : value == "TEXT" ? "WORD" : value == "BOOLEAN" ? "true|false" : value;
  if (allowed.starts_with('{')) {
    for (std::string rest = allowed.substr(1, allowed.size() - 2); !rest.empty();) {
      const auto comma = std::min(rest.find(','), rest.size());
      info.choices.push_back(rest.substr(0, comma));
      rest.erase(0, comma + 1);
    }
  }
  const auto from = allowed.find('[');
  const auto to = allowed.find(" - ");
  if (is_number && from != std::string::npos && to != std::string::npos) {
    info.range = allowed.substr(from + 1, to - from - 1) + " to " + allowed.substr(to + 3, allowed.size() - to - 4);
  }
}

OptionInfo info_of(const CLI::Option& option) {
  OptionInfo info;
  info.what = option.get_description();
  info.required = option.get_required();
  info.repeats = option.get_items_expected_max() > 1;
  if (option.get_positional()) {
    info.names = {option.get_name(true)};
    OptionInfo type;
    read_type(option.get_type_name(), type);
    info.choices = type.choices;
    return info;
  }
  for (const std::string& name : option.get_snames()) info.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) info.names.push_back("--" + name);
  if (option.get_type_size() > 0 && option.get_items_expected_max() > 0) {
    read_type(option.get_type_name(), info);
    info.initial = option.get_default_str();
    if (info.value == "true|false") info.initial = info.initial == "0" ? "false" : "true";
  }
  return info;
}

}  // namespace

CommandInfo describe(const CLI::App& command) {
  CommandInfo info{.name = command.get_name(), .path = {}, .what = command.get_description(), .notes = {}};
  for (const CLI::App* part = &command; part != nullptr; part = part->get_parent()) {
    info.path = info.path.empty() ? part->get_name() : part->get_name() + " " + info.path;
  }
  info.notes = command.get_footer();
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;
    (option->get_positional() ? info.arguments : info.options).push_back(info_of(*option));
  }
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!sub->get_group().empty()) info.commands.push_back(describe(*sub));
  }
  return info;
}

}  // namespace weir::cli
