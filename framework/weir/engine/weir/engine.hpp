#pragma once

/// weir://host:port: the embedded broker.

#include <memory>
#include <string>

#include "weir/engine/engine.hpp"
#include "weir/engine/weir/client.hpp"

namespace weir::engine::weir_broker {

inline constexpr std::uint16_t port_default = 7733;

/// libzmq's endpoint for a weir:// URL. Throws: Error, which says what is wrong with it.
[[nodiscard]] std::string endpoint_of(const std::string& url);

/// What the embedded broker can do.
[[nodiscard]] Capabilities capabilities();

/// Throws: Error when the URL is wrong. Nothing is connected yet.
[[nodiscard]] std::unique_ptr<Engine> make_engine(const std::string& url, Notice notice = {});

}  // namespace weir::engine::weir_broker
