#include <csignal>

#include "commands.hpp"
#include "weir/broker/server.hpp"
#include "weir/deployment/deployment.hpp"

namespace weir::cli {
namespace {

weir::broker::Durability durability_of(deployment::Durability durability) {
  switch (durability) {
    case deployment::Durability::os:
      return weir::broker::Durability::os;
    case deployment::Durability::none:
      return weir::broker::Durability::none;
    case deployment::Durability::fsync:
      break;
  }
  return weir::broker::Durability::fsync;
}

}  // namespace

int broker(const FileOptions& options) {
  // In the background of a terminal the broker goes on, and writes its log to the terminal.
  std::signal(SIGTTIN, SIG_IGN);
  std::signal(SIGTTOU, SIG_IGN);
  // The broker starts no processes. As process 1 of a container it gets orphans, which the kernel reaps if SIGCHLD is
  // ignored.
  std::signal(SIGCHLD, SIG_IGN);
  const deployment::Deployment deployment = deployment::load(options.file);
  const deployment::BrokerSection& section = deployment.broker;
  std::vector<weir::broker::core::QueueConfig> queues;
  for (const deployment::QueueSection& queue : deployment.queues) {
    queues.push_back({.name = queue.name, .policy = queue.policy});
  }
  return weir::broker::run_broker({.data = section.data,
                                   .listen = section.listen,
                                   .durability = durability_of(section.durability),
                                   .message_most = section.message_most,
                                   .window_most = section.window_most,
                                   .reserve = section.reserve,
                                   .connections = section.connections,
                                   .session_timeout = section.session_timeout,
                                   .build = "weir " WEIR_VERSION},
                                  std::move(queues));
}

}  // namespace weir::cli
