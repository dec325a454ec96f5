#pragma once

/// A blocking client for the commands of people.

#include <memory>
#include <string>

#include "weir/message/units.hpp"
#include "weir/v1/control.pb.h"

namespace weir::engine::weir_broker {

class Control {
 public:
  /// Does not connect yet. Throws: Error if the URL is wrong.
  explicit Control(const std::string& url, Duration limit = std::chrono::seconds(3));
  ~Control();

  /// Sends a request, after setting its id, and waits for the reply for at most `limit`.
  /// Throws: Error if no broker answers, with its address and what to do; Refused with the broker's words if it says
  /// no.
  [[nodiscard]] v1::ControlReply request(v1::ControlRequest request);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir::engine::weir_broker
