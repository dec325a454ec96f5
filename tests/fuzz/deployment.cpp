// A deployment file of any text: read and checked; what is wrong is a finding, never a throw.
#include "weir/deployment/deployment.hpp"

#include "input.hpp"
#include "targets.hpp"
#include "weir/deployment/check.hpp"

namespace weir::fuzz {
namespace {

std::optional<std::string> variable(const std::string& name) {
  if (name == "PORT") return "7800";
  if (name == "EMPTY") return "";
  if (name == "SNEAKY") return "${PORT}";
  return std::nullopt;
}

}  // namespace

void deployment(std::string_view bytes) {
  namespace files = weir::deployment;
  const auto lines = static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), '\n')) + 1;
  const files::Reading reading = files::parse(std::string(bytes), "local.yaml", "/srv/shop", variable);
  bool any_error = false;
  for (const files::Finding& finding : reading.findings) {
    any_error = any_error || finding.is_error;
    require(!finding.text.empty(), "a finding says nothing");
    // YAML's own line ends are more than '\n'.
    require(finding.line <= lines + bytes.size(), "a finding beyond the end of the file");
  }
  require(reading.deployment.has_value() == !any_error, "a deployment with errors, or none without");
  require(reading.print().empty() == reading.findings.empty(), "findings that are not printed");
  if (!reading.deployment) return;
  const files::Deployment& read = *reading.deployment;
  require(!read.queues.empty(), "a deployment without queues was let through");
  for (const auto& group : read.groups) {
    require(group.window.messages.value > 0 && !group.queues.empty() && !group.plugin.empty(),
            "a worker group that cannot work was let through");
    require(read.group(group.name) != nullptr, "a worker group is not found by its name");
  }
  (void)read.runs_broker();
}

}  // namespace weir::fuzz
