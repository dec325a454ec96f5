#pragma once

/// The one header that a publishing program includes.
///
///     boost::asio::io_context loop;
///     const auto engine = weir::engine::make("weir://127.0.0.1:7733");
///     weir::Publisher publisher(*engine, loop.get_executor());
///     …
///     const weir::Confirmation told = co_await publisher.publish("emails", welcome);
///
/// In CMake: target_link_libraries(NAME PRIVATE weir::publisher weir::engine_make). The types of a plugin NAME are in
/// NAME_protos.

#include "weir/async/task.hpp"
#include "weir/engine/make.hpp"
#include "weir/publisher/publisher.hpp"
