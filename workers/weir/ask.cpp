#include "ask.hpp"

#include "weir/engine/weir/control.hpp"

namespace weir::cli {

struct Asker::Connection {
  Connection(const std::string& engine, Duration limit) : control(engine, limit) {}
  engine::weir_broker::Control control;
};

Asker::Asker(const std::string& engine, Duration limit) : connection_(std::make_unique<Connection>(engine, limit)) {}
Asker::~Asker() = default;

v1::ControlReply Asker::ask(v1::ControlRequest request) { return connection_->control.request(std::move(request)); }

std::vector<v1::Queues::Queue> Asker::queues() {
  std::vector<v1::Queues::Queue> all;
  v1::ControlRequest request;
  v1::ControlReply reply;
  do {
    request.mutable_list_queues()->set_after(reply.queues().next());
    reply = ask(request);
    all.insert(all.end(), reply.queues().queues().begin(), reply.queues().queues().end());
  } while (!reply.queues().next().empty());
  return all;
}

std::vector<v1::Workers::Worker> Asker::workers() {
  std::vector<v1::Workers::Worker> all;
  v1::ControlRequest request;
  v1::ControlReply reply;
  do {
    request.mutable_list_workers()->set_after(reply.workers().next());
    reply = ask(request);
    all.insert(all.end(), reply.workers().workers().begin(), reply.workers().workers().end());
  } while (reply.workers().next() != 0);
  return all;
}

v1::ControlReply ask(const std::string& engine, v1::ControlRequest request) {
  return Asker(engine).ask(std::move(request));
}

std::vector<v1::Queues::Queue> ask_queues(const std::string& engine) { return Asker(engine).queues(); }

}  // namespace weir::cli
