#pragma once

/// weir://host:port: the embedded broker.

#include <memory>
#include <string>

#include "weir/engine/engine.hpp"
#include "weir/engine/weir/client.hpp"

namespace weir::engine::weir_broker {

inline constexpr std::uint16_t port_default = 7733;

/// Returns libzmq's endpoint for a weir:// URL. Throws: Error, which says what is wrong with the URL.
[[nodiscard]] std::string endpoint_of(const std::string& url);

/// Returns the abilities of the embedded broker.
[[nodiscard]] Capabilities capabilities();

/// Does not connect yet. Throws: Error if the URL is wrong.
[[nodiscard]] std::unique_ptr<Engine> make_engine(const std::string& url, Notice notice = {});

}  // namespace weir::engine::weir_broker
