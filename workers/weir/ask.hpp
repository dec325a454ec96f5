#pragma once

/// One question to the engine, and its answer.

#include <memory>
#include <string>
#include <vector>

#include "weir/message/units.hpp"
#include "weir/v1/control.pb.h"

namespace weir::cli {

/// Many questions over one connection.
class Asker {
 public:
  /// `limit`: the longest wait for an answer.
  explicit Asker(const std::string& engine, Duration limit = std::chrono::seconds(5));
  ~Asker();
  /// Throws: as ask().
  [[nodiscard]] v1::ControlReply ask(v1::ControlRequest request);
  /// Return every queue and every worker, page after page. Throw: as ask().
  [[nodiscard]] std::vector<v1::Queues::Queue> queues();
  [[nodiscard]] std::vector<v1::Workers::Worker> workers();

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

/// Throws: Error with the engine's own error, or because the engine could not be reached in 5 s.
[[nodiscard]] v1::ControlReply ask(const std::string& engine, v1::ControlRequest request);
/// Throws: as above.
[[nodiscard]] std::vector<v1::Queues::Queue> ask_queues(const std::string& engine);

}  // namespace weir::cli
