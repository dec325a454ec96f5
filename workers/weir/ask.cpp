#include "ask.hpp"

#include "weir/engine/weir/control.hpp"

namespace weir::cli {

v1::ControlReply ask(const std::string& engine, v1::ControlRequest request) {
  return engine::weir_broker::Control(engine, std::chrono::seconds(5)).request(std::move(request));
}

std::vector<v1::Queues::Queue> ask_queues(const std::string& engine) {
  std::vector<v1::Queues::Queue> all;
  v1::ControlRequest request;
  v1::ControlReply reply;
  do {
    request.mutable_list_queues()->set_after(reply.queues().next());
    reply = ask(engine, request);
    all.insert(all.end(), reply.queues().queues().begin(), reply.queues().queues().end());
  } while (!reply.queues().next().empty());
  return all;
}

}  // namespace weir::cli
