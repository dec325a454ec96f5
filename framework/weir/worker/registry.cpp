#include "weir/worker/registry.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "weir/handler/plugin_file.hpp"

namespace weir::worker {

Registry::Registry(const GroupSettings& settings, std::uint32_t shard, asio::any_io_executor executor)
    : settings_(settings), shard_(shard), executor_(std::move(executor)), by_queue_(settings.queues.size()) {}

void Registry::add(std::string_view queue, std::string_view type, std::unique_ptr<handler::Handler> handler,
                   const HandlerOptions& options) {
  const auto at = std::find(settings_.queues.begin(), settings_.queues.end(), queue);
  if (at == settings_.queues.end()) {
    unlisted_[std::string(queue)].emplace(type);
    return;
  }
  const auto index = static_cast<std::uint32_t>(at - settings_.queues.begin());
  if (find(index, type) != nullptr) {
    wrong_.push_back("two handlers for type '" + std::string(type) + "' of queue '" + std::string(queue) +
                     "'; register one");
    return;
  }
  if (options.timeout && *options.timeout <= Duration::zero()) {
    wrong_.push_back("the handler for type '" + std::string(type) + "' of queue '" + std::string(queue) +
                     "' has a timeout of " + std::to_string(options.timeout->count()) + "us; it must be above 0");
    return;
  }
  handlers_.push_back(
      std::make_unique<Registered>(Registered{index, handlers_.size(), std::string(type), std::move(handler),
                                              bounded(options.timeout.value_or(settings_.timeout))}));
  by_queue_[index].push_back(handlers_.back().get());
}

std::vector<std::string> Registry::types() const {
  std::vector<std::string> types;
  for (const auto& each : handlers_) types.push_back(each->type);
  return types;
}

Registered* Registry::find(std::uint32_t queue, std::string_view type) {
  auto& known = by_queue_[queue];
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i]->type != type) continue;
    std::swap(known[i], known[0]);  // neighbouring messages usually have the same type
    return known[0];
  }
  return nullptr;
}

std::string Registry::option(std::string_view name, std::string_view otherwise) {
  asked_.emplace(name);
  const auto at = settings_.with.find(std::string(name));
  return at == settings_.with.end() ? std::string(otherwise) : at->second;
}

std::string Registry::path(std::string_view name, std::string_view otherwise) {
  const std::filesystem::path given = option(name, otherwise);
  return (settings_.folder / given).lexically_normal().string();  // an absolute path stays as it is
}

std::vector<engine::Attachment> Registry::attachments() const {
  std::vector<engine::Attachment> out;
  for (std::size_t queue = 0; queue < settings_.queues.size(); ++queue) {
    engine::Attachment attachment{settings_.queues[queue], {}};
    for (const Registered* each : by_queue_[queue]) attachment.types.push_back(each->type);
    out.push_back(std::move(attachment));
  }
  return out;
}

std::vector<Registry::Finding> Registry::findings() const {
  std::vector<Finding> wrong;
  for (const std::string& each : wrong_) wrong.push_back({"plugin", each});
  for (std::size_t queue = 0; queue < settings_.queues.size(); ++queue) {
    if (!by_queue_[queue].empty()) continue;
    std::string line = "queue '" + settings_.queues[queue] + "' has no handler";
    if (handlers_.empty() && unlisted_.empty()) {
      line += ": the plugin registers none";
    } else if (!unlisted_.empty()) {
      line += "; the plugin has handlers for";
      for (const auto& [each, types] : unlisted_) line += " '" + each + "'";
      line += ", which workers." + settings_.name + ".queues does not list";
    }
    line += "; register one, or take the queue out of workers." + settings_.name + ".queues";
    wrong.push_back({"queues[" + std::to_string(queue) + "]", std::move(line)});
  }
  for (const auto& [name, value] : settings_.with) {
    if (asked_.contains(name)) continue;
    std::string line =
        "workers." + settings_.name + ".with has '" + name + "', which the plugin does not ask for; it asks for";
    if (asked_.empty()) line += " nothing";
    for (const std::string& each : asked_) line += " '" + each + "'";
    wrong.push_back({"with." + name, std::move(line)});
  }
  return wrong;
}

void Registry::check() const {
  const std::vector<Finding> wrong = findings();
  if (wrong.empty()) return;
  std::string text = "worker group '" + settings_.name + "'";
  if (!settings_.plugin.empty()) text += " with plugin " + settings_.plugin;
  text += ":";
  for (const Finding& each : wrong) text += (wrong.size() == 1 ? " " : "\n  ") + each.text;
  throw handler::PluginError(text);
}

}  // namespace weir::worker
