#pragma once

/// The deployment file as it was read: the processes to run, and their sizes.
///
/// Every finding is collected, so that one run of `weir check` shows them all.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/message/error.hpp"
#include "weir/message/policy.hpp"
#include "weir/message/units.hpp"
#include "weir/worker/settings.hpp"

namespace weir::deployment {

/// The failures that a confirmed publish survives. fsync: power loss; os: kill -9 of the broker; none: nothing.
enum class Durability { fsync, os, none };

struct BrokerSection {
  std::filesystem::path data;  ///< absolute
  std::string listen;          ///< HOST:PORT; that of the engine, unless the file has another
  Durability durability = Durability::fsync;
  Bytes message_most;
  Load window_most;
  Bytes reserve;
  std::size_t connections{};
  Duration session_timeout{};
};

struct QueueSection {
  std::string name;
  QueuePolicy policy;
};

struct Deployment {
  std::filesystem::path file;
  std::string engine;  ///< URL
  BrokerSection broker;
  std::vector<QueueSection> queues;           ///< in the order of the file
  std::vector<worker::GroupSettings> groups;  ///< in the order of the file

  [[nodiscard]] const worker::GroupSettings* group(std::string_view name) const;
  /// True if `weir up` runs the broker too: an embedded one on this machine.
  [[nodiscard]] bool runs_broker() const;
};

/// An error in the file, or a notice for the operator.
struct Finding {
  std::size_t line{};  ///< from 1; 0: the file as a whole
  std::size_t column{};
  bool is_error = true;
  std::string text;
};

struct Reading {
  std::string file;                      ///< the file's name as it was given, for people
  std::optional<Deployment> deployment;  ///< absent if any finding is an error
  std::vector<Finding> findings;         ///< by line and column

  /// One line per finding: `FILE:LINE:COLUMN: text`.
  [[nodiscard]] std::string print() const;
};

/// Returns the value of an environment variable, or nothing.
using Environment = std::function<std::optional<std::string>(const std::string&)>;
[[nodiscard]] Environment process_environment();

/// How far the plugins are checked. checked: their files. rehearsed: if the deployment file has no error so far, also
/// what they register (rehearse_plugins: their code runs, in processes of their own). A broker needs no plugins.
enum class PluginFiles { unchecked, checked, rehearsed };

/// Reads and checks `file`. Errors in the file are findings, never exceptions.
[[nodiscard]] Reading read(const std::filesystem::path& file, PluginFiles plugins = PluginFiles::unchecked,
                           const Environment& environment = process_environment());
/// As read(), from text. Its relative paths are relative to `folder`.
[[nodiscard]] Reading parse(const std::string& text, const std::string& file, const std::filesystem::path& folder,
                            const Environment& environment, PluginFiles plugins = PluginFiles::unchecked);

/// The deployment file is wrong; what() is Reading::print().
struct FileError : Error {
  using Error::Error;
};
/// As read(). Throws: FileError with every finding.
[[nodiscard]] Deployment load(const std::filesystem::path& file);

/// Returns all keys with types, limits and defaults, for `weir check --explain`.
[[nodiscard]] std::string explain();

}  // namespace weir::deployment
