#pragma once

/// Chooses the engine that a command talks to: `--engine URL`, or `-f FILE`, or `$WEIR_ENGINE`, or `./weir.yaml`, in
/// this order.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "options.hpp"
#include "weir/deployment/deployment.hpp"

namespace weir::cli {

struct Choice {
  std::string engine;                                ///< URL
  std::optional<deployment::Deployment> deployment;  ///< set if a deployment file was read
};

/// Returns the plugins of the deployment, each once.
[[nodiscard]] std::vector<std::filesystem::path> plugins_of(const Choice& choice);

/// Throws: UsageError, which says what was tried; deployment::FileError.
[[nodiscard]] Choice choose(const EngineOptions& options);

}  // namespace weir::cli
