#include "weir/engine/weir/control.hpp"

#include <netdb.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <utility>

#include "weir/engine/weir/client.hpp"
#include "weir/engine/weir/engine.hpp"
#include "weir/engine/weir/zmq_transport.hpp"
#include "weir/message/error.hpp"

namespace weir::engine::weir_broker {
namespace {

/// Checks that the host exists. libzmq would look for it for ever, and only say that there is no answer. Throws: Error.
void need_host(const std::string& url) {
  std::string host = endpoint_of(url).substr(std::string_view("tcp://").size());
  host.resize(std::min(host.rfind(':'), host.size()));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, nullptr, &found);
  if (code != 0) {
    throw Error("no broker answers at " + url + ": host '" + host + "' is not known (" + gai_strerror(code) +
                "); correct the engine's URL");
  }
  freeaddrinfo(found);
}

class ControlMachine final : public ClientMachine {
 public:
  using ClientMachine::ClientMachine;

  void ask(v1::ControlRequest request) {
    request.set_id(++last_id_);
    request_.Clear();
    *request_.mutable_control() = std::move(request);
    reply.reset();
    if (is_up()) send(request_);
  }
  std::optional<v1::ControlReply> reply;

 protected:
  void hello(Instant) override {
    v1::Frame head;
    *head.mutable_hello() = hello_of(v1::CONTROL);
    send(head);
  }
  // The request is sent again after a reconnect. That is harmless, also for a replay or a purge of messages that are
  // gone.
  void welcomed(Instant, const v1::Welcome&) override {
    if (request_.has_control() && !reply) send(request_);
  }
  void received(Instant, const std::shared_ptr<Received>& frame) override {
    if (!frame->head().has_control_reply() || frame->head().control_reply().id() != last_id_) return;
    reply = frame->head().control_reply();
  }

 private:
  v1::Frame request_;
  std::uint64_t last_id_ = 0;
};

}  // namespace

struct Control::State {
  State(std::string the_url, Duration the_limit)
      : url(std::move(the_url)),
        limit(the_limit),
        connector(endpoint_of(url)),
        machine(this_process()),
        client(loop.get_executor(), connector, machine, {}) {}

  std::string url;
  Duration limit;
  bool has_host = false;
  asio::io_context loop{1};
  ZmqConnector connector;
  ControlMachine machine;
  Client client;
};

Control::Control(const std::string& url, Duration limit) : state_(std::make_unique<State>(url, limit)) {}

Control::~Control() {
  state_->machine.goodbye(now());
  state_->client.carry_out();
}

v1::ControlReply Control::request(v1::ControlRequest request) {
  State& state = *state_;
  if (!std::exchange(state.has_host, true)) need_host(state.url);
  state.machine.ask(std::move(request));
  state.client.start();
  // While the broker is connected it works on the request, however long that takes: a replay of 3,000,000 dead letters
  // takes some 10 s.
  for (auto deadline = std::chrono::steady_clock::now() + state.limit;
       !state.machine.reply && !state.machine.failure();) {
    if (state.loop.run_one_until(deadline) == 0 && std::chrono::steady_clock::now() >= deadline) {
      if (!state.machine.is_up()) break;
      deadline += state.limit;
    }
  }
  if (state.machine.failure()) throw Refused(state.url + ": " + *state.machine.failure());
  if (!state.machine.reply) {
    const std::string& why = state.machine.last_error();
    throw Error("no broker answers at " + state.url + (why.empty() ? "" : " (" + why + ")") +
                "; start one (weir up FILE, or weir broker FILE), or name another (--engine URL)");
  }
  if (!state.machine.reply->error().empty()) throw Refused(state.machine.reply->error());
  return std::move(*state.machine.reply);
}

}  // namespace weir::engine::weir_broker
