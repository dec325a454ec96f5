#include "ask.hpp"

#include "weir/engine/weir/control.hpp"

namespace weir::cli {

v1::ControlReply ask(const std::string& engine, v1::ControlRequest request) {
  return engine::weir_broker::Control(engine, std::chrono::seconds(5)).request(std::move(request));
}

}  // namespace weir::cli
