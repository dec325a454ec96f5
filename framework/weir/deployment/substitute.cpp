#include "weir/deployment/substitute.hpp"

#include <algorithm>
#include <cstdlib>

namespace weir::deployment {
namespace {

bool is_variable_name(std::string_view name) {
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name.front())) == 0 &&
         std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

/// The control character with its index, from 1, stands for each. People do not type those, and YAML takes them for
/// letters.
constexpr std::string_view special = "{}[],:# ";

}  // namespace

std::string mask_variables(std::string yaml) {
  for (std::size_t at = yaml.find("${"); at != std::string::npos; at = yaml.find("${", at + 2)) {
    const std::size_t end = yaml.find_first_of("}\n\"'", at);
    if (end == std::string::npos || yaml[end] != '}') continue;
    for (std::size_t i = at; i <= end; ++i) {
      if (const auto index = special.find(yaml[i]); index != std::string_view::npos) {
        yaml[i] = static_cast<char>(index + 1);
      }
    }
  }
  return yaml;
}

std::string unmask_variables(std::string scalar) {
  for (char& c : scalar) {
    if (c >= 1 && static_cast<std::size_t>(c) <= special.size()) c = special[static_cast<std::size_t>(c) - 1];
  }
  return scalar;
}

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

std::variant<std::string, Unsubstituted> substitute(std::string_view text, const Environment& environment) {
  std::string result;
  while (!text.empty()) {
    if (text.starts_with("$${")) {
      result += "${";
      text.remove_prefix(3);
      continue;
    }
    if (!text.starts_with("${")) {
      result += text.front();
      text.remove_prefix(1);
      continue;
    }
    const auto close = text.find('}');
    if (close == std::string_view::npos)
      return Unsubstituted{"'${' is not closed by '}'; write '$${' for a plain '${'"};
    const std::string_view inner = text.substr(2, close - 2);
    const auto split = inner.find(":-");
    const std::string name(inner.substr(0, split));
    if (!is_variable_name(name)) {
      return Unsubstituted{"'${" + std::string(inner) + "}' is not a variable: write ${NAME} or ${NAME:-default}"};
    }
    const auto value = environment(name);
    if (split != std::string_view::npos && (!value || value->empty())) {
      result += inner.substr(split + 2);
    } else if (value) {
      result += *value;
    } else {
      return Unsubstituted{"${" + name + "} is not set in the environment: set it, or write ${" + name + ":-default}"};
    }
    text.remove_prefix(close + 1);
  }
  return result;
}

}  // namespace weir::deployment
