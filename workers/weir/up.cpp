#include <iostream>

#include "commands.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/deployment/supervisor.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::cli {

int up(const FileOptions& options, const LogOptions& log_options) {
  const deployment::Reading reading = deployment::read(options.file, deployment::PluginFiles::rehearsed);
  if (log_options.json && !reading.print().empty()) {
    // With an error there is no deployment, and nothing runs.
    log::write(reading.deployment ? log::Level::warn : log::Level::error,
               reading.deployment ? "deployment_findings" : "deployment_is_wrong", {{"findings", reading.print()}});
  } else {
    std::cerr << reading.print();
  }
  if (!reading.deployment) return wrong_usage;
  return deployment::supervise(deployment::processes_of(*reading.deployment, log_options.arguments()));
}

}  // namespace weir::cli
