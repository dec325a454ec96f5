#include "choice.hpp"

#include <cstdlib>
#include <filesystem>

#include "commands.hpp"

namespace weir::cli {

Choice choose(const EngineOptions& options) {
  if (options.engine) {
    Choice choice{.engine = *options.engine};
    // Not for the engine, but for what else it may know: the plugins that describe types.
    if (options.file) choice.deployment = deployment::load(*options.file);
    return choice;
  }
  const char* variable = std::getenv("WEIR_ENGINE");
  std::optional<std::string> file = options.file;
  if (!file && variable != nullptr && *variable != '\0') return {.engine = variable};
  if (!file && std::filesystem::exists("weir.yaml")) file = "weir.yaml";
  if (!file) {
    throw UsageError(
        "which engine? tried --engine URL (not given), -f FILE (not given), $WEIR_ENGINE (not set) and ./weir.yaml "
        "(not there)");
  }
  auto deployment = deployment::load(*file);
  std::string engine = deployment.engine;
  return {.engine = std::move(engine), .deployment = std::move(deployment)};
}

}  // namespace weir::cli
