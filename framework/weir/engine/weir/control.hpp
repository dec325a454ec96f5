#pragma once

/// Looking and steering: a blocking client for people's commands.

#include <memory>
#include <string>

#include "weir/message/units.hpp"
#include "weir/v1/control.pb.h"

namespace weir::engine::weir_broker {

class Control {
 public:
  /// Nothing is connected yet. Throws: Error when the URL is wrong.
  explicit Control(const std::string& url, Duration limit = std::chrono::seconds(3));
  ~Control();

  /// Sends a request (its id is set here), and awaits its reply for `limit`.
  /// Throws: Error when no broker answers, saying which and what to do; Refused with the broker's words when it says
  /// no.
  [[nodiscard]] v1::ControlReply request(v1::ControlRequest request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::engine::weir_broker
