/// One worker process: a parent, and the child and the reporter that it starts of this same program.

#include "commands.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/worker/process.hpp"

namespace weir::cli {
namespace {

worker::GroupSettings group_of(const std::string& file, const std::string& name) {
  const deployment::Deployment deployment = deployment::load(file);
  if (const worker::GroupSettings* group = deployment.group(name)) return *group;
  std::string text = file + ": no group '" + name + "' under workers; it has";
  for (const auto& group : deployment.groups) text += " " + group.name;
  throw UsageError(deployment.groups.empty() ? file + ": no groups under workers" : text);
}

std::vector<std::string> command(const LogOptions& log, const char* name, const WorkerOptions& options) {
  std::vector<std::string> words = log.arguments();
  words.insert(words.end(), {name, options.file, options.group});
  return words;
}

/// FILE and NAME, the first two of what the parent passes.
worker::GroupSettings group_of(const InternalOptions& options) {
  if (options.arguments.size() < 2) throw UsageError("this command is `weir worker`'s own; see weir worker --help");
  return group_of(options.arguments[0], options.arguments[1]);
}

}  // namespace

int worker(const WorkerOptions& options, const LogOptions& log) {
  const worker::GroupSettings group = group_of(options.file, options.group);
  return worker::run_parent(group, {.executable = "/proc/self/exe",
                                    .work = command(log, "worker-child", options),
                                    .report = command(log, "worker-report", options)});
}

int worker_child(const InternalOptions& options) { return worker::run_child(group_of(options)); }

int worker_report(const InternalOptions& options) {
  return worker::run_report(group_of(options), worker::Death::parse(options.arguments));
}

}  // namespace weir::cli
