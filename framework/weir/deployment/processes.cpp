/// The processes of a deployment.

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/deployment/endpoint.hpp"
#include "weir/deployment/supervisor.hpp"

namespace weir::deployment {
namespace {

using namespace std::chrono_literals;

/// True if a process accepts connections at `address`. It is on loopback, so the answer comes at once.
bool listens(const std::string& address) {
  const auto endpoint = parse_endpoint(address);
  if (!endpoint) return false;
  const addrinfo hints{.ai_flags = AI_NUMERICSERV, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  if (getaddrinfo(endpoint->host.c_str(), std::to_string(endpoint->port).c_str(), &hints, &found) != 0) return false;
  bool connected = false;
  for (const addrinfo* candidate = found; candidate != nullptr && !connected; candidate = candidate->ai_next) {
    const int socket = ::socket(candidate->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) continue;
    connected = connect(socket, candidate->ai_addr, candidate->ai_addrlen) == 0;
    close(socket);
  }
  freeaddrinfo(found);
  return connected;
}

}  // namespace

std::vector<Process> processes_of(const Deployment& deployment, const std::vector<std::string>& options) {
  const std::string file = deployment.file.string();
  const auto command = [&](std::vector<std::string> words) {
    words.insert(words.begin(), options.begin(), options.end());
    return words;
  };
  std::vector<Process> processes;
  if (deployment.runs_broker()) {
    const std::string listen = deployment.broker.listen;
    processes.push_back({.name = "broker",
                         .arguments = command({"broker", file}),
                         .stage = 0,
                         .is_ready = [listen] { return listens(listen); },
                         .stop_within = 30s});
  }
  for (const worker::GroupSettings& group : deployment.groups) {
    for (std::uint32_t i = 0; i < group.processes_least; ++i) {
      processes.push_back({.name = "worker " + group.name + "/" + std::to_string(i),
                           .arguments = command({"worker", file, group.name}),
                           .stage = 1,
                           // A worker ends by itself at drain + 5 s.
                           .stop_within = group.drain + 10s});
    }
  }
  return processes;
}

}  // namespace weir::deployment
