/// One worker process: a parent, and the child and the reporter, which it starts from this same program.

#include <cstdio>
#include <iostream>

#include "commands.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/rehearsal.hpp"

namespace weir::cli {
namespace {

worker::GroupSettings group_of(const std::string& file, const std::string& name) {
  const deployment::Deployment deployment = deployment::load(file);
  if (const worker::GroupSettings* group = deployment.group(name)) return *group;
  std::string text = file + ": no group '" + name + "' under workers; it has";
  for (const auto& group : deployment.groups) text += " " + group.name;
  throw UsageError(deployment.groups.empty() ? file + ": no groups under workers" : text);
}

std::vector<std::string> command(const LogOptions& log, std::vector<std::string> command_words) {
  std::vector<std::string> words = log.arguments();
  words.insert(words.end(), command_words.begin(), command_words.end());
  return words;
}

/// The parent passes `least` words or more.
void check_by_parent(const InternalOptions& options, std::size_t least) {
  if (options.arguments.size() < least) throw UsageError("this command is `weir worker`'s own; see weir worker --help");
}

}  // namespace

int worker(const WorkerOptions& options, const LogOptions& log) {
  const worker::GroupSettings group = group_of(options.file, options.group);
  return worker::run_parent(group, {.executable = "/proc/self/exe",
                                    .work = command(log, {"worker-child", options.file, options.group}),
                                    .report = command(log, {"worker-report", options.group})});
}

int worker_child(const InternalOptions& options) {
  check_by_parent(options, 2);
  const int code = worker::run_child(group_of(options.arguments[0], options.arguments[1]));
  // Prints of handlers are not the result of this command, so a failed write of them does not change its exit code.
  std::cout.clear();
  std::clearerr(stdout);
  return code;
}

int worker_report(const InternalOptions& options) {
  check_by_parent(options, 1);
  return static_cast<int>(worker::run_report(options.arguments[0], worker::Death::parse(options.arguments)));
}

int worker_rehearsal(const InternalOptions& options) {
  check_by_parent(options, 2);
  worker::rehearse(group_of(options.arguments[0], options.arguments[1]));
}

}  // namespace weir::cli
