#pragma once

/// A plugin as a file. Reads what it was built with and its message types, without running any of its code.

#include <filesystem>
#include <string>

#include "weir/handler/abi.hpp"
#include "weir/message/error.hpp"

namespace weir::handler {

/// The plugin cannot be used: it is missing, not a plugin, built for something else, or wrongly registered.
struct PluginError : Error {
  using Error::Error;
};

struct PluginFile {
  Abi abi;
  /// An encoded google.protobuf.FileDescriptorSet with all imports; empty if the plugin has no protos.
  std::string descriptors;
  /// Where the loader looks first for its libraries (DT_RUNPATH, DT_RPATH); empty if the file does not say.
  std::string run_path;
};

/// Reads the sections that weir_add_plugin and WEIR_PLUGIN put into `path`.
///
/// Throws: PluginError if the file is missing, not an ELF file, or not a Weir plugin.
[[nodiscard]] PluginFile read_plugin_file(const std::filesystem::path& path);

/// Throws: PluginError if this executable cannot load a plugin with this Abi; it names the first difference.
void check_abi(const std::filesystem::path& path, const Abi& abi);

}  // namespace weir::handler
