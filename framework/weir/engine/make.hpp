#pragma once

/// Makes the engine that a URL names.

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
  /// Called when a connection is made or lost, with an event's name ("connection_lost") and a text. May be empty.
  /// Thread: that of the session or producer concerned.
  std::function<void(std::string_view event, const std::string& text)> notice;
  /// The queues, for memory:// only. A broker on disk has the queues of its deployment file.
  std::vector<std::pair<std::string, QueuePolicy>> queues;
};

/// Takes weir://host:port, or memory://NAME. In one process there is one memory broker per name, with the queues of the
/// first call.
/// Throws: Error if the URL is wrong; Unsupported if this version has no such engine.
[[nodiscard]] std::unique_ptr<Engine> make(const std::string& url, const MakeOptions& options = {});

}  // namespace weir::engine
