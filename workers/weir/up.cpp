#include <iostream>

#include "commands.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/deployment/supervisor.hpp"

namespace weir::cli {

int up(const FileOptions& options, const LogOptions& log) {
  const deployment::Reading reading = deployment::read(options.file, deployment::PluginFiles::checked);
  std::cerr << reading.print();
  if (!reading.deployment) return wrong_usage;
  return deployment::supervise(deployment::processes_of(*reading.deployment, log.arguments()));
}

}  // namespace weir::cli
