#pragma once

/// The engine that a URL names.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/message/policy.hpp"

namespace weir::engine {

struct MakeOptions {
  /// Told of connections made and lost: an event's name ("connection_lost") and words. May be empty.
  /// Thread: that of the session or producer concerned.
  std::function<void(std::string_view event, const std::string& text)> notice;
  /// memory:// only: its queues. A broker on disk has those of its deployment file.
  std::vector<std::pair<std::string, QueuePolicy>> queues;
};

/// weir://host:port, or memory://NAME (one broker a name in this process; with the first maker's queues).
/// Throws: Error when the URL is wrong; Unsupported when this version has no such engine.
[[nodiscard]] std::unique_ptr<Engine> make(const std::string& url, const MakeOptions& options = {});

}  // namespace weir::engine
