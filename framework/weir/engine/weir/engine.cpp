#include "weir/engine/weir/engine.hpp"

#include <boost/url/parse.hpp>
#include <utility>

#include "weir/engine/weir/clients.hpp"
#include "weir/engine/weir/death_report.hpp"
#include "weir/engine/weir/keep_alive.hpp"
#include "weir/engine/weir/zmq_transport.hpp"
#include "weir/message/error.hpp"

namespace weir::engine::weir_broker {
namespace {

class WeirEngine final : public Engine {
 public:
  WeirEngine(const std::string& url, Notice notice)
      : url_(url),
        connector_(endpoint_of(url)),
        notice_(std::move(notice)),
        capabilities_(weir_broker::capabilities()) {}

  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] std::unique_ptr<Session> session(asio::any_io_executor executor, SessionOptions options) override {
    return make_session(std::move(executor), connector_, std::move(options), notice_);
  }
  [[nodiscard]] std::unique_ptr<Producer> producer(asio::any_io_executor executor) override {
    return make_producer(std::move(executor), connector_, notice_);
  }
  [[nodiscard]] std::unique_ptr<KeepAlive> keep_alive(KeepAliveOptions options) override {
    return make_keep_alive(url_, std::move(options), notice_);
  }
  [[nodiscard]] DeathAnswer report_death(const ProcessToken& process, const DeadProcess& dead,
                                         Duration limit) override {
    return weir_broker::report_death(url_, process, dead, limit);
  }

 private:
  std::string url_;
  ZmqConnector connector_;
  Notice notice_;
  Capabilities capabilities_;
};

}  // namespace

std::string endpoint_of(const std::string& url) {
  const auto parsed = boost::urls::parse_uri(url);
  if (parsed.has_error()) {
    throw Error("engine '" + url + "' is not a URL; a Weir broker's is weir://HOST:PORT");
  }
  if (parsed->scheme() != "weir") {
    throw Error("engine '" + url + "' does not begin with weir://");
  }
  if (parsed->host().empty()) throw Error("engine '" + url + "' names no host; e.g. weir://127.0.0.1:7733");
  if ((!parsed->path().empty() && parsed->path() != "/") || parsed->has_query() || parsed->has_userinfo()) {
    throw Error("engine '" + url + "' has more than a host and a port; e.g. weir://127.0.0.1:7733");
  }
  if (parsed->has_port() && parsed->port_number() == 0) {
    throw Error("engine '" + url + "': the port must be 1 to 65535");
  }
  const std::uint16_t port = parsed->has_port() ? parsed->port_number() : port_default;
  return "tcp://" + std::string(parsed->encoded_host()) + ":" + std::to_string(port);
}

Capabilities capabilities() {
  Capabilities able;
  able.atomic_outputs = true;
  able.settlement_confirmed = true;
  able.release_uncounted = true;
  able.delays = true;
  able.dead_letters = true;
  able.idempotent_publish = true;
  able.keep_alives = true;
  able.death_reports = true;
  able.durability = "power loss, with broker.durability: fsync (the default)";
  return able;
}

std::unique_ptr<Engine> make_engine(const std::string& url, Notice notice) {
  return std::make_unique<WeirEngine>(url, std::move(notice));
}

}  // namespace weir::engine::weir_broker
