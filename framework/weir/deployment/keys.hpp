#pragma once

/// The one table of the deployment file's keys: types, limits, defaults and what each is for.
///
/// The reader, its errors and `weir check --explain` are made from it, so that none can know a key that another does
/// not. Limits and defaults stand in it as people type them, and are read by the same code as the file.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

enum class Kind {
  section,  ///< a map whose keys are in the table
  named,    ///< a map from names that the file chooses to sections
  text,
  count,
  ratio,
  duration,
  bytes,
  choice,    ///< one of a few words
  names,     ///< a list of texts
  options,   ///< a map from text to text
  anything,  ///< not in this version, so not looked into
};

/// What a scalar, a list or a map of scalars was read as; which member is meant follows from the key's kind.
struct Value {
  std::uint64_t count{};  ///< count, bytes
  double ratio{};
  Duration duration{};
  std::string text;  ///< text, choice
  std::vector<std::string> names;
  std::map<std::string, std::string> options;
};

/// The parts of the deployment that a key's value goes into; those that its path passes through are set.
struct Target {
  Deployment& deployment;
  QueueSection* queue = nullptr;
  worker::GroupSettings* group = nullptr;
};

struct Key {
  std::string_view path;  ///< `queues.NAME.backoff.first`
  Kind kind = Kind::section;
  std::string_view standard = {};   ///< the default, as one would type it
  std::string_view otherwise = {};  ///< without `standard`: what holds when the key is absent, in words
  std::string_view lowest = {};
  std::string_view highest = {};
  std::span<const std::string_view> choices = {};
  bool required = false;
  bool available = true;  ///< false: known, and refused as `not in this version`
  std::string_view what;
  void (*set)(Target& target, Value& value) = nullptr;

  [[nodiscard]] std::string_view name() const { return path.substr(path.rfind('.') + 1); }
};

/// Every key, a section before what is in it.
[[nodiscard]] std::span<const Key> keys();
/// The keys right under `path` (empty: of the file itself).
[[nodiscard]] std::vector<const Key*> keys_under(std::string_view path);

/// What may stand there: `a duration such as 250ms, 1s, 5m, 1h or 90d, from 1s to 1h`.
[[nodiscard]] std::string allowed(const Key& key);

/// Reads a scalar as the key's kind, within its limits; nothing if it is none (`allowed` says what would be).
[[nodiscard]] std::optional<Value> read_value(const Key& key, std::string_view text);

}  // namespace weir::deployment
