#include "weir/broker/options.hpp"

#include <utility>

#include "weir/message/error.hpp"
#include "weir/protocol/limits.hpp"

namespace weir::broker {
namespace {

constexpr Bytes message_most_highest{128ULL * 1024 * 1024};
/// The most that all workers together may have unread, in libzmq's queues and the kernel's.
constexpr Bytes unread_most{64ULL * 1024 * 1024};
/// How long the last confirmations may take to leave.
constexpr auto linger = std::chrono::milliseconds(500);

}  // namespace

async::SocketOptions socket_options(const BrokerSettings& settings) {
  if (settings.message_most > message_most_highest || settings.message_most.value == 0) {
    throw Error("broker.message_most of " + std::to_string(settings.message_most.value) +
                " bytes: at least 1 byte, at most 128 MiB");
  }
  async::SocketOptions options;
  options.kind = async::SocketKind::router;
  options.frame_bytes_most = settings.message_most.value + protocol::frame_head_most;
  options.received_most = 16;
  options.linger = linger;
  options.dead_after = std::chrono::duration_cast<std::chrono::seconds>(settings.session_timeout);
  options.monitor = true;
  return options;
}

core::Config core_config(const BrokerSettings& settings, std::vector<core::QueueConfig> queues) {
  core::Config config;
  config.build = settings.build;
  config.queues = std::move(queues);
  config.session_timeout = settings.session_timeout;
  config.message_most = settings.message_most;
  config.window_most = settings.window_most;
  config.unread_most = unread_most;
  // A quarter of the reserve fits into it for certain, with what LMDB adds, and what is written beside it.
  if (settings.reserve.value > 0) config.unanswered_most = Bytes{settings.reserve.value / 4};
  config.seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  return config;
}

}  // namespace weir::broker
