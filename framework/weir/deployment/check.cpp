#include "weir/deployment/check.hpp"

#include <algorithm>
#include <set>

#include "weir/deployment/endpoint.hpp"
#include "weir/deployment/nearest.hpp"
#include "weir/handler/plugin_file.hpp"
#include "weir/telemetry/characters.hpp"

namespace weir::deployment {
namespace {

/// Returns the engine's endpoint, if this version knows the URL's scheme.
std::optional<Endpoint> check_engine(const Deployment& deployment, Findings& findings) {
  const Position at = findings.place("engine");
  const auto url = parse_url(deployment.engine);
  const std::string named = "engine is '" + deployment.engine + "': ";
  if (!url) {
    findings.error(at, named + "expected weir://HOST:PORT");
    return std::nullopt;
  }
  static const std::set<std::string> later{"amqp", "amqps", "nats", "tls"};
  if (later.contains(url->scheme)) {
    findings.error(at, named + url->scheme + ":// is not in this version; use weir://HOST:PORT");
    return std::nullopt;
  }
  if (url->scheme == "memory") {
    findings.error(at, named + "memory:// lives inside one process, for tests; use weir://HOST:PORT");
    return std::nullopt;
  }
  if (url->scheme != "weir") {
    findings.error(at, named + "unknown scheme '" + url->scheme + "'; use weir://HOST:PORT");
    return std::nullopt;
  }
  auto endpoint = parse_endpoint(url->rest);
  if (!endpoint) findings.error(at, named + "expected weir://HOST:PORT");
  return endpoint;
}

void check_listen(Deployment& deployment, const std::optional<Endpoint>& engine, Findings& findings) {
  std::string& listen = deployment.broker.listen;
  if (listen.empty()) {
    if (!engine) return;
    listen = engine->print();
    if (engine->host == "::1") {
      findings.error(findings.place("engine"), "engine is '" + deployment.engine +
                                                   "': the broker of this version listens on IPv4; use 127.0.0.1");
    } else if (!engine->is_loopback()) {
      findings.error(findings.place("engine"),
                     "engine is '" + deployment.engine + "': the broker would listen off loopback, which needs keys " +
                         "(weir keys), not in this version; use 127.0.0.1, or set broker.listen if " +
                         "something forwards to it");
    }
    return;
  }
  const Position at = findings.place("broker.listen");
  const auto endpoint = parse_endpoint(listen);
  if (!endpoint) {
    findings.error(at, "broker.listen is '" + listen + "': expected HOST:PORT, such as 127.0.0.1:7733");
  } else if (endpoint->host == "::1") {
    findings.error(at, "broker.listen is '" + listen + "': this version listens on IPv4; use 127.0.0.1");
  } else if (!endpoint->is_loopback()) {
    findings.error(at, "broker.listen is '" + listen + "': listening off loopback needs keys (weir keys), not in " +
                           "this version; use 127.0.0.1");
  } else {
    listen = endpoint->print();
  }
}

void check_queue(const QueueSection& queue, Findings& findings) {
  const std::string place = "queues." + queue.name;
  if (queue.policy.backoff.first > queue.policy.backoff.most) {
    findings.error(findings.place(place + ".backoff.first"),
                   place + ".backoff.first is longer than backoff.most, the longest pause");
  }
}

void check_group_queues(const Deployment& deployment, const worker::GroupSettings& group, Findings& findings) {
  const std::string place = "workers." + group.name;
  std::vector<std::string> declared;
  for (const QueueSection& queue : deployment.queues) declared.push_back(queue.name);
  std::set<std::string> seen;
  for (std::size_t i = 0; i < group.queues.size(); ++i) {
    const std::string& queue = group.queues[i];
    const Position at = findings.place(place + ".queues[" + std::to_string(i) + "]");
    if (std::ranges::find(declared, queue) == declared.end()) {
      findings.error(at,
                     place + " lists queue '" + queue + "', which is not under queues" + did_you_mean(queue, declared));
    } else if (!seen.insert(queue).second) {
      findings.error(at, place + " lists queue '" + queue + "' twice");
    }
  }
  // The reader reports a missing key.
  if (group.queues.empty() && findings.has_place(place + ".queues")) {
    findings.error(findings.place(place + ".queues"), place + ".queues is empty: name at least one queue");
  }
}

void check_group(const Deployment& deployment, worker::GroupSettings& group, Findings& findings) {
  const std::string place = "workers." + group.name;
  check_group_queues(deployment, group, findings);
  if (group.concurrency && *group.concurrency > group.window.messages.value) {
    findings.error(findings.place(place + ".concurrency"),
                   place + ".concurrency is " + std::to_string(*group.concurrency) + ", above window.messages, " +
                       std::to_string(group.window.messages.value) + ": no more handlers run than messages are held");
  }
  if (group.processes_most == 0) group.processes_most = group.processes_least;
  if (group.processes_least > group.processes_most) {
    findings.error(findings.place(place + ".processes.least"),
                   place + ".processes.least is " + std::to_string(group.processes_least) + ", above processes.most, " +
                       std::to_string(group.processes_most));
  } else if (group.processes_least < group.processes_most) {
    findings.warning(findings.place(place + ".processes.most"),
                     place + ".processes.most is " + std::to_string(group.processes_most) +
                         ": this version does not scale, it runs " + std::to_string(group.processes_least));
  }
}

std::filesystem::path resolved(const std::filesystem::path& folder, const std::filesystem::path& path) {
  return (path.is_absolute() ? path : folder / path).lexically_normal();
}

}  // namespace

Position Findings::place(std::string place) const {
  while (true) {
    if (const auto found = places_.find(place); found != places_.end()) return found->second;
    const auto dot = place.rfind('.');
    if (dot == std::string::npos) return {};
    place.resize(dot);
  }
}

bool Findings::any_error() const { return std::ranges::any_of(findings_, &Finding::is_error); }

std::vector<Finding> Findings::sorted() const {
  auto sorted = findings_;
  std::ranges::stable_sort(sorted, {}, [](const Finding& finding) { return std::pair(finding.line, finding.column); });
  return sorted;
}

void Findings::add(Position at, bool is_error, std::string text) {
  findings_.push_back({at.line, at.column, is_error, log::harmless(text)});
}

void complete(Deployment& deployment, const std::filesystem::path& folder, Findings& findings) {
  const auto engine = check_engine(deployment, findings);
  check_listen(deployment, engine, findings);
  deployment.broker.data = resolved(folder, deployment.broker.data);
  for (const QueueSection& queue : deployment.queues) check_queue(queue, findings);
  for (worker::GroupSettings& group : deployment.groups) {
    group.engine = deployment.engine;
    if (!group.plugin.empty()) group.plugin = resolved(folder, group.plugin).string();
    group.folder = folder;
    check_group(deployment, group, findings);
  }
}

void check_plugins(const Deployment& deployment, Findings& findings) {
  for (const worker::GroupSettings& group : deployment.groups) {
    if (group.plugin.empty()) continue;  // its key is missing, which the reader reports
    const std::string place = "workers." + group.name;
    try {
      handler::check_abi(group.plugin, handler::read_plugin_file(group.plugin).abi);
    } catch (const handler::PluginError& error) {
      findings.error(findings.place(place + ".plugin"), place + ": " + error.what());
    }
  }
}

const worker::GroupSettings* Deployment::group(std::string_view name) const {
  const auto found = std::ranges::find(groups, name, &worker::GroupSettings::name);
  return found == groups.end() ? nullptr : &*found;
}

bool Deployment::runs_broker() const {
  const auto url = parse_url(engine);
  const auto endpoint = url ? parse_endpoint(url->rest) : std::nullopt;
  return endpoint && endpoint->is_loopback();
}

std::string Reading::print() const {
  std::string text;
  for (const Finding& finding : findings) {
    text += file + ":";
    if (finding.line > 0) text += std::to_string(finding.line) + ":" + std::to_string(finding.column) + ":";
    text += finding.is_error ? " " : " warning: ";
    text += finding.text + "\n";
  }
  return text;
}

}  // namespace weir::deployment
