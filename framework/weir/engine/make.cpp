#include "weir/engine/make.hpp"

#include <map>
#include <mutex>

#include "weir/engine/memory/memory_broker.hpp"
#include "weir/engine/weir/engine.hpp"
#include "weir/message/error.hpp"

namespace weir::engine {
namespace {

/// All these sessions are in this process, and have no keep-alive. 24 h means that they never time out.
constexpr Duration memory_session_timeout = std::chrono::hours(24);

std::shared_ptr<memory::MemoryBroker> memory_broker(const std::string& name, const MakeOptions& options) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<memory::MemoryBroker>> brokers;
  const std::lock_guard lock(mutex);
  if (auto broker = brokers[name].lock()) return broker;
  broker::core::Config config;
  config.build = "memory";
  config.session_timeout = memory_session_timeout;
  for (const auto& [queue, policy] : options.queues) config.queues.push_back({queue, policy});
  auto broker = std::make_shared<memory::MemoryBroker>(std::move(config));
  brokers[name] = broker;
  return broker;
}

}  // namespace

std::unique_ptr<Engine> make(const std::string& url, const MakeOptions& options) {
  const auto end = url.find("://");
  const std::string scheme = end == std::string::npos ? std::string() : url.substr(0, end);
  if (scheme == "weir") return weir_broker::make_engine(url, options.notice);
  if (scheme == "memory") return memory::make_engine(memory_broker(url.substr(end + 3), options));
  if (scheme == "amqp" || scheme == "amqps" || scheme == "nats") {
    throw Unsupported("engine '" + url + "': " + scheme + ":// is not in this version; use weir://HOST:PORT");
  }
  throw Error("engine '" + url + "' is of no known kind; use weir://HOST:PORT (or memory:// in tests)");
}

}  // namespace weir::engine
