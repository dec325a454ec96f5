#pragma once

/// The one table of the deployment file's keys: types, limits, defaults and purposes.
///
/// The reader, its errors and `weir check --explain` all use it, so they know the same keys. Limits and defaults are
/// written in it as people type them, and are read by the same code as the file.

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
  anything,  ///< not in this version, so its value is not read
};

/// The value of a scalar, a list or a map of scalars. The key's kind says which member holds it.
struct Value {
  std::uint64_t count{};  ///< count, bytes
  double ratio{};
  Duration duration{};
  std::string text;  ///< text, choice
  std::vector<std::string> names;
  std::map<std::string, std::string> options;
};

/// The parts of the deployment that a key's value goes into. Those on the key's path are set.
struct Target {
  Deployment& deployment;
  QueueSection* queue = nullptr;
  worker::GroupSettings* group = nullptr;
};

struct Key {
  std::string_view path;  ///< `queues.NAME.backoff.first`
  Kind kind = Kind::section;
  std::string_view standard = {};   ///< the default, as people type it
  std::string_view otherwise = {};  ///< without `standard`: in words, what applies if the key is absent
  std::string_view lowest = {};
  std::string_view highest = {};
  std::span<const std::string_view> choices = {};
  bool required = false;
  bool available = true;  ///< false: the key is known, and refused as `not in this version`
  std::string_view what;
  void (*set)(Target& target, Value& value) = nullptr;

  [[nodiscard]] std::string_view name() const { return path.substr(path.rfind('.') + 1); }
};

/// Returns every key, each section before its contents.
[[nodiscard]] std::span<const Key> keys();
/// Returns the keys directly under `path` (empty: those of the file itself).
[[nodiscard]] std::vector<const Key*> keys_under(std::string_view path);

/// Says what the value may be: `a duration such as 250ms, 1s, 5m, 1h or 90d, from 1s to 1h`.
[[nodiscard]] std::string allowed(const Key& key);

/// Reads a scalar as the key's kind, within its limits. Returns nothing if it is not allowed (see `allowed`).
[[nodiscard]] std::optional<Value> read_value(const Key& key, std::string_view text);

}  // namespace weir::deployment
