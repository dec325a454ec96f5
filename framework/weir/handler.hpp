#pragma once

/// The one header that the author of a handler includes.
///
///     weir::task<> confirm(weir::Context& ctx, const shop::OrderPlaced& order) {
///       co_await weir::timeout(2s, charge(order));
///       if (order.items().empty()) throw weir::Reject("no items");
///       ctx.publish("emails", confirmation(order));
///     }
///     WEIR_PLUGIN(plugin) { plugin.on<shop::OrderPlaced>("orders", confirm); }
///
/// A handler is a coroutine on the one thread of its shard. It shares its state with no other thread and needs no
/// locks. While it awaits something, other handlers of the shard run. Work that keeps the CPU busy belongs in
/// weir::offload. The log names a handler that holds the thread longer than `stall_after`. To take its stack, the
/// thread is interrupted (SIGURG). Blocking calls that cannot be restarted, such as sleep(), then end early. A handler
/// that still holds the thread 1 s past its timeout is stuck: its process is ended.
///
/// g++ 12 miscompiles temporaries with non-trivial members in an expression with `co_await`. Name lambdas with
/// captures, and structs with such members, before they are awaited. weir::retry and weir::offload refuse such lambdas
/// at compile time. weir_add_plugin looks for the rest in the sources before it compiles them (workers/check-awaits).

#include "weir/async/offload.hpp"
#include "weir/async/retry.hpp"
#include "weir/async/semaphore.hpp"
#include "weir/async/sleep.hpp"
#include "weir/async/task.hpp"
#include "weir/async/timeout.hpp"
#include "weir/handler/branches.hpp"
#include "weir/handler/context.hpp"
#include "weir/handler/end.hpp"
#include "weir/handler/plugin.hpp"
