#pragma once

/// Loads a plugin into this process. One per process, and for good, as its descriptors and types stay referenced.

#include <filesystem>

#include "weir/handler/plugin.hpp"

namespace weir::worker {

using RegisterPlugin = void (*)(Plugin&);

/// Loads the plugin, and returns the function that WEIR_PLUGIN defined in it.
///
/// Throws: handler::PluginError if the file is missing, is no plugin, was built with something else than this
/// executable, brings Protobuf files that this executable has itself, or lacks symbols, or if another plugin was loaded
/// before.
/// All but the last two are found before any of the plugin's code runs.
/// `copy` is loaded instead, if there is one. It has the same content, and is never overwritten.
[[nodiscard]] RegisterPlugin load_plugin(const std::filesystem::path& path, const std::filesystem::path& copy = {});

}  // namespace weir::worker
