#pragma once

/// A plugin as a file: what it was built with and which message types it brings, read without running any of its code.

#include <filesystem>
#include <string>

#include "weir/handler/abi.hpp"
#include "weir/message/error.hpp"

namespace weir::handler {

/// A plugin that cannot be used: missing, not a plugin, built for something else, wrongly registered.
struct PluginError : Error {
  using Error::Error;
};

struct PluginFile {
  Abi abi;
  /// An encoded google.protobuf.FileDescriptorSet with all imports; empty if the plugin has no protos.
  std::string descriptors;
  /// Where it looks for its libraries first (DT_RUNPATH, DT_RPATH); empty if it does not say.
  std::string run_path;
};

/// Reads the sections that weir_add_plugin and WEIR_PLUGIN put into `path`.
///
/// Throws: PluginError when it is missing, not an ELF file, or not a Weir plugin.
[[nodiscard]] PluginFile read_plugin_file(const std::filesystem::path& path);

/// Throws: PluginError when this executable cannot load a plugin built so; it names the first thing that differs.
void check_abi(const std::filesystem::path& path, const Abi& abi);

}  // namespace weir::handler
