/// Reads a Deployment from YAML, by the table of keys.

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "weir/deployment/check.hpp"
#include "weir/deployment/invisible.hpp"
#include "weir/deployment/keys.hpp"
#include "weir/deployment/nearest.hpp"
#include "weir/deployment/substitute.hpp"
#include "weir/telemetry/characters.hpp"

namespace weir::deployment {
namespace {

/// People write deployment files. A larger file is some other file, named by mistake.
constexpr std::uintmax_t file_bytes_most = 1 << 20;

Position position(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {static_cast<std::size_t>(mark.line) + 1, static_cast<std::size_t>(mark.column) + 1};
}
Position position(const YAML::Node& node) { return position(node.Mark()); }

/// Returns a scalar as it is written in the file.
std::string text_of(const YAML::Node& node) { return unmask_variables(node.Scalar()); }

/// Returns `text` for an error line: without line breaks or other control characters, and shortened.
std::string shown(std::string_view text) {
  constexpr std::size_t shown_most = 60;
  return log::harmless(text.substr(0, shown_most)) + (text.size() > shown_most ? "…" : "");
}

std::string kind_of(const YAML::Node& node) {
  if (node.IsMap()) return "a map";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "empty";
  return "'" + shown(text_of(node)) + "'";
}

bool is_name(std::string_view name) {
  constexpr std::size_t name_most = 100;
  return !name.empty() && name.size() <= name_most && std::isalnum(static_cast<unsigned char>(name.front())) != 0 &&
         std::ranges::all_of(name,
                             [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_'; });
}

std::string joined(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : std::string(path) + "." + std::string(name);
}

class Reader {
 public:
  Reader(Findings& findings, Deployment& deployment, const Environment& environment)
      : findings_(findings), deployment_(deployment), environment_(environment) {}

  void file(const YAML::Node& root) {
    Target target{deployment_};
    // A section that the file leaves out has its defaults too.
    set_defaults("broker", target);
    for (const Key* key : keys_under("")) {
      if (!key->standard.empty()) set_default(*key, target);
    }
    section("", "", root, target);
  }

 private:
  static void set_default(const Key& key, Target& target) {
    Value value = *read_value(key, key.standard);
    key.set(target, value);
  }

  /// Sets every default below `path`, at any depth.
  static void set_defaults(std::string_view path, Target& target) {
    const std::string prefix = std::string(path) + ".";
    for (const Key& key : keys()) {
      if (key.path.starts_with(prefix) && !key.standard.empty()) set_default(key, target);
    }
  }

  /// `path` is the section's name in the table, `place` the name that people use (`workers.NAME`, `workers.shop`).
  void section(std::string_view path, const std::string& place, const YAML::Node& node, Target& target) {
    const auto known = keys_under(path);
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const auto name = name_of(entry.first, place, seen);
      if (!name) continue;
      const auto key = std::ranges::find_if(known, [&](const Key* candidate) { return candidate->name() == *name; });
      if (key == known.end()) {
        unknown(*name, place, known, entry.first);
      } else if (!(*key)->available) {
        error(position(entry.first), "key '" + *name + "'" + in(place) + ": not in this version");
      } else {
        value(**key, joined(place, *name), entry.second, position(entry.first), target);
      }
    }
    for (const Key* key : known) {
      if (key->required && !seen.contains(std::string(key->name()))) {
        error(place.empty() ? Position{} : findings_.place(place),
              "key '" + std::string(key->name()) + "' is missing" + in(place) + ": " + std::string(key->what));
      }
    }
  }

  /// `at` is the position of the key, as an empty value has none.
  void value(const Key& key, const std::string& place, const YAML::Node& node, Position at, Target& target) {
    const Position own = node.IsNull() ? at : position(node);
    findings_.set_place(place, own);
    switch (key.kind) {
      case Kind::section:
        if (node.IsMap()) return section(key.path, place, node, target);
        if (node.IsNull()) return section(key.path, place, YAML::Node(YAML::NodeType::Map), target);
        return wrong(key, place, kind_of(node), own);
      case Kind::named:
        if (node.IsMap() && (node.size() > 0 || !key.required)) return named(key, place, node);
        if (node.IsMap()) return error(own, place + " is empty: name at least one");
        return wrong(key, place, kind_of(node), own);
      case Kind::names:
        return names(key, place, node, own, target);
      case Kind::options:
        return options(key, place, node, own, target);
      default:
        return scalar(key, place, node, own, target);
    }
  }

  void named(const Key& key, const std::string& place, const YAML::Node& node) {
    const std::string path = joined(key.path, "NAME");
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const auto name = name_of(entry.first, place, seen);
      if (!name) continue;
      if (!is_name(*name)) {
        error(position(entry.first), "'" + shown(*name) + "' is not a name" + in(place) +
                                         ": letters, digits, '.', '-' and '_', a letter or digit first, at most 100");
        continue;
      }
      Target target{deployment_};
      if (key.path == "queues") {
        target.queue = &deployment_.queues.emplace_back();
        target.queue->name = *name;
      } else {
        target.group = &deployment_.groups.emplace_back();
        target.group->name = *name;
        target.group->processes_most = 0;  // as processes_least, which the checks fill in
      }
      set_defaults(path, target);
      const std::string own_place = joined(place, *name);
      findings_.set_place(own_place, position(entry.first));
      if (entry.second.IsMap()) {
        section(path, own_place, entry.second, target);
      } else if (entry.second.IsNull()) {
        section(path, own_place, YAML::Node(YAML::NodeType::Map), target);
      } else {
        wrong(*keys_under(key.path).front(), own_place, kind_of(entry.second), position(entry.second));
      }
    }
  }

  void scalar(const Key& key, const std::string& place, const YAML::Node& node, Position at, Target& target) {
    if (!node.IsScalar()) return wrong(key, place, kind_of(node), at);
    const auto text = substituted(node, place);
    if (!text) return;
    if (auto value = read_value(key, *text)) return key.set(target, *value);
    std::string found = "'" + shown(*text) + "'";
    if (*text != text_of(node)) found += " (from '" + shown(text_of(node)) + "')";
    std::vector<std::string> choices(key.choices.begin(), key.choices.end());
    wrong(key, place, found, at, did_you_mean(*text, choices));
  }

  void names(const Key& key, const std::string& place, const YAML::Node& node, Position at, Target& target) {
    if (!node.IsSequence()) return wrong(key, place, kind_of(node), at);
    Value value;
    for (std::size_t i = 0; i < node.size(); ++i) {
      const std::string own = place + "[" + std::to_string(i) + "]";
      findings_.set_place(own, position(node[i]));
      if (!node[i].IsScalar()) {
        error(position(node[i]), own + " is " + kind_of(node[i]) + ": expected a name");
      } else if (auto text = substituted(node[i], own)) {
        value.names.push_back(std::move(*text));
      }
    }
    key.set(target, value);
  }

  void options(const Key& key, const std::string& place, const YAML::Node& node, Position at, Target& target) {
    if (node.IsNull()) return;
    if (!node.IsMap()) return wrong(key, place, kind_of(node), at);
    Value value;
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const auto name = name_of(entry.first, place, seen);
      if (!name) continue;
      const std::string own = joined(place, *name);
      if (entry.second.IsNull()) {
        value.options[*name];
      } else if (!entry.second.IsScalar()) {
        error(position(entry.second), own + " is " + kind_of(entry.second) + ": expected a text");
      } else if (auto text = substituted(entry.second, own)) {
        value.options[*name] = std::move(*text);
      }
    }
    key.set(target, value);
  }

  std::optional<std::string> name_of(const YAML::Node& node, const std::string& place, std::set<std::string>& seen) {
    if (!node.IsScalar()) {
      error(position(node), "a key" + in(place) + " is " + kind_of(node) + ": expected a name");
      return std::nullopt;
    }
    if (!seen.insert(text_of(node)).second) {
      error(position(node), "key '" + shown(text_of(node)) + "'" + in(place) + " is there twice");
      return std::nullopt;
    }
    return text_of(node);
  }

  std::optional<std::string> substituted(const YAML::Node& node, const std::string& place) {
    auto result = substitute(text_of(node), environment_);
    if (auto* text = std::get_if<std::string>(&result)) return std::move(*text);
    error(position(node), place + ": " + std::get<Unsubstituted>(result).why);
    return std::nullopt;
  }

  void unknown(const std::string& name, const std::string& place, const std::vector<const Key*>& known,
               const YAML::Node& node) {
    std::vector<std::string> here;
    for (const Key* key : known) here.emplace_back(key->name());
    std::string hint = did_you_mean(name, here);
    if (hint.empty()) {
      const auto elsewhere = std::ranges::find_if(keys(), [&](const Key& key) { return key.name() == name; });
      if (elsewhere != keys().end()) hint = "; there is " + std::string(elsewhere->path);
    }
    if (hint.empty()) {
      hint = "; known:";
      for (const Key* key : known) {
        if (key->available) hint += (hint.ends_with(':') ? " " : ", ") + std::string(key->name());
      }
    }
    error(position(node), "unknown key '" + shown(name) + "'" + in(place) + hint);
  }

  void wrong(const Key& key, const std::string& place, const std::string& found, Position at,
             const std::string& hint = {}) {
    error(at, place + " is " + found + ": expected " + allowed(key) + hint);
  }

  void error(Position at, std::string text) { findings_.error(at, std::move(text)); }

  static std::string in(const std::string& place) { return place.empty() ? std::string() : " in " + place; }

  Findings& findings_;
  Deployment& deployment_;
  const Environment& environment_;
};

/// Notes where the documents of a text begin.
struct Beginnings final : YAML::EventHandler {
  std::vector<YAML::Mark> marks;

  void OnDocumentStart(const YAML::Mark& mark) override { marks.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

/// Finds the beginnings of documents. YAML::LoadAll is not used: at a character that begins no value (a ','), yaml-cpp
/// 0.7 makes empty documents until the memory is used up. Three documents tell such a place from a document that
/// follows the first.
std::vector<YAML::Mark> beginnings_of(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Beginnings found;
  const std::vector<YAML::Mark>& marks = found.marks;
  while (marks.size() < 3 && parser.HandleNextDocument(found)) {
    if (marks.size() > 1 && marks.back().pos == marks[marks.size() - 2].pos) {
      throw YAML::ParserException(marks.back(), "no value begins like this");
    }
  }
  return marks;
}

/// Returns the root, if the text is one YAML map.
std::optional<YAML::Node> root_of(const std::string& text, Findings& findings) {
  // Finds also the characters that stand for YAML's own inside variables.
  if (const auto mark = find_byte_order_mark(text)) {
    findings.error(mark->at, mark->what);
    return std::nullopt;
  }
  if (std::ranges::any_of(text, [](char c) { return c >= 0 && c <= 8; })) {
    findings.error({}, "not YAML: it holds binary data");
    return std::nullopt;
  }
  try {
    const std::string masked = mask_variables(text);
    const std::vector<YAML::Mark> documents = beginnings_of(masked);
    if (documents.size() > 1) {
      findings.error(position(documents[1]), "a second YAML document: a deployment file is one");
      return std::nullopt;
    }
    YAML::Node root = YAML::Load(masked);
    if (root.IsNull()) return YAML::Node(YAML::NodeType::Map);
    if (root.IsMap()) return root;
    findings.error(position(root), "the file is " + kind_of(root) +
                                       ": expected a map with the keys engine, broker, queues and workers");
  } catch (const YAML::Exception& exception) {
    const Position at = position(exception.mark);
    const auto tab = find_tab(text, at.line);
    findings.error(tab ? tab->at : at, tab ? tab->what : "not YAML: " + exception.msg);
  }
  return std::nullopt;
}

}  // namespace

Reading parse(const std::string& text, const std::string& file, const std::filesystem::path& folder,
              const Environment& environment, PluginFiles plugins) {
  Findings findings;
  Deployment deployment;
  if (const auto root = root_of(text, findings)) {
    Reader(findings, deployment, environment).file(*root);
    complete(deployment, folder, findings);
    if (plugins != PluginFiles::unchecked) check_plugins(deployment, findings);
    if (plugins == PluginFiles::rehearsed && !findings.any_error()) {
      rehearse_plugins(deployment, folder / std::filesystem::path(file).filename(), findings);
    }
  }
  Reading reading{.file = file, .findings = findings.sorted()};
  if (!findings.any_error()) {
    deployment.file = folder / std::filesystem::path(file).filename();
    reading.deployment = std::move(deployment);
  }
  return reading;
}

Reading read(const std::filesystem::path& file, PluginFiles plugins, const Environment& environment) {
  Findings findings;
  std::error_code status;
  const bool is_folder = std::filesystem::is_directory(file, status);
  std::ifstream stream(file, std::ios::binary);
  if (is_folder) {
    findings.error({}, "is a folder: name the deployment file in it");
  } else if (!stream) {
    findings.error({}, std::string("cannot be read: ") + std::strerror(errno));
  } else {
    std::string text(file_bytes_most + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (text.size() <= file_bytes_most) {
      return parse(text, file.string(), std::filesystem::absolute(file).parent_path(), environment, plugins);
    }
    findings.error({}, "is larger than 1MiB: that is no deployment file");
  }
  return {.file = file.string(), .findings = findings.sorted()};
}

Deployment load(const std::filesystem::path& file) {
  Reading reading = read(file);
  if (!reading.deployment) throw FileError(reading.print());
  return std::move(*reading.deployment);
}

}  // namespace weir::deployment
