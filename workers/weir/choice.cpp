#include "choice.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "commands.hpp"
#include "weir/deployment/endpoint.hpp"

namespace weir::cli {
namespace {

/// Throws: UsageError. `where` names the source of the URL.
std::string checked(const std::string& engine, const char* where) {
  const auto url = deployment::parse_url(engine);
  if (!url || url->scheme != "weir" || !deployment::parse_endpoint(url->rest)) {
    throw UsageError(
        std::string(where) + " '" + engine +
        "': expected weir://HOST:PORT with a port from 1 to 65535 (amqp:// and nats:// are not in this version)");
  }
  return engine;
}

}  // namespace

std::vector<std::filesystem::path> plugins_of(const Choice& choice) {
  std::vector<std::filesystem::path> plugins;
  if (!choice.deployment) return plugins;
  for (const worker::GroupSettings& group : choice.deployment->groups) {
    const std::filesystem::path plugin = group.plugin;
    if (std::ranges::find(plugins, plugin) == plugins.end()) plugins.push_back(plugin);
  }
  return plugins;
}

Choice choose(const EngineOptions& options) {
  if (options.engine) {
    Choice choice{.engine = checked(*options.engine, "--engine")};
    // The file is not read for the engine here, but for the plugins that describe types.
    if (options.file) choice.deployment = deployment::load(*options.file);
    return choice;
  }
  const char* variable = std::getenv("WEIR_ENGINE");
  std::optional<std::string> file = options.file;
  if (!file && variable != nullptr && *variable != '\0') return {.engine = checked(variable, "$WEIR_ENGINE")};
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
