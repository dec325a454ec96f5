#pragma once

/// Loads a plugin into this process. One a process, and for good: its descriptors and types stay referenced.

#include <filesystem>

#include "weir/handler/plugin.hpp"

namespace weir::worker {

using RegisterPlugin = void (*)(Plugin&);

/// What WEIR_PLUGIN defined there.
///
/// Throws: handler::PluginError when the file is missing, no plugin, built with something else than this executable,
/// brings Protobuf files that this executable has itself, lacks symbols, or when another plugin was loaded before.
/// All but the last two are found before any of its code runs.
/// `copy` is loaded instead, if there is one: of the same content, at a place where nobody overwrites it.
[[nodiscard]] RegisterPlugin load_plugin(const std::filesystem::path& path, const std::filesystem::path& copy = {});

}  // namespace weir::worker
