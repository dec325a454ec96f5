#include <filesystem>
#include <iostream>

#include "commands.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/engine/make.hpp"

namespace weir::cli {
namespace {

std::string_view word(deployment::Durability durability) {
  switch (durability) {
    case deployment::Durability::fsync:
      return "power loss";
    case deployment::Durability::os:
      return "kill -9 of the broker, not power loss";
    case deployment::Durability::none:
      return "neither power loss nor kill -9 of the broker";
  }
  return {};
}

/// Returns the engine's capability table in words.
std::string words(const engine::Capabilities& able) {
  std::string text;
  const auto add = [&](bool can, const char* what) {
    text += (text.empty() ? "" : ", ") + std::string(can ? "" : "no ") + what;
  };
  add(able.atomic_outputs, "ack and outputs as one");
  add(able.settlement_confirmed, "confirmed settlements");
  add(able.release_uncounted, "uncounted release");
  add(able.delays, "delays");
  add(able.dead_letters, "dead letters");
  add(able.idempotent_publish, "idempotent publishing");
  add(able.keep_alives, "keep-alives");
  add(able.death_reports, "judged deaths");
  return text;
}

}  // namespace

int check(const CheckOptions& options) {
  if (options.explain) std::cout << deployment::explain();
  if (options.file.empty()) {
    if (options.explain) return done;
    throw UsageError("which file? weir check FILE, or weir check --explain");
  }
  const deployment::Reading reading = deployment::read(
      options.file, options.load ? deployment::PluginFiles::rehearsed : deployment::PluginFiles::checked);
  std::cerr << reading.print();
  if (!reading.deployment) return wrong_usage;
  const deployment::Deployment& deployment = *reading.deployment;

  std::cout << options.file << ": good\n"
            << "  engine   " << deployment.engine
            << (deployment.runs_broker() ? " (embedded broker)\n" : " (a broker elsewhere)\n") << "  can      "
            << words(engine::make(deployment.engine)->capabilities()) << "\n  data     "
            << deployment.broker.data.string() << "; a confirmation survives " << word(deployment.broker.durability)
            << "\n"
            << "  queues  ";
  for (const auto& queue : deployment.queues) std::cout << " " << queue.name;
  std::cout << "\n";
  for (const worker::GroupSettings& group : deployment.groups) {
    std::cout << "  workers  " << group.name << ": " << group.processes_least << " × " << group.shards << " shard"
              << (group.shards == 1 ? "" : "s") << ", window " << group.window.messages.value << " messages each, "
              << std::filesystem::path(group.plugin).filename().string() << "\n";
  }
  if (!deployment.groups.empty()) {
    std::cout << "  plugins  "
              << (options.load ? "loaded: what they register is what the groups need\n"
                               : "not loaded; what they register is checked with --load, and by weir up\n");
  }
  return done;
}

}  // namespace weir::cli
