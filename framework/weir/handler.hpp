#pragma once

/// All that a handler's author includes.
///
///     weir::task<> confirm(weir::Context& ctx, const shop::OrderPlaced& order) {
///       co_await weir::timeout(2s, charge(order));
///       if (order.items().empty()) throw weir::Reject("no items");
///       ctx.publish("emails", confirmation(order));
///     }
///     WEIR_PLUGIN(plugin) { plugin.on<shop::OrderPlaced>("orders", confirm); }
///
/// A handler is a coroutine on its shard's one thread: it shares its state with no other thread and needs no locks, and
/// what it awaits lets other handlers of the shard run. Work that keeps the CPU busy goes to weir::offload. One that
/// holds the thread longer than `stall_after` is named in the log; to take its stack the thread is interrupted
/// (SIGURG), by which blocking calls that cannot be restarted, such as sleep(), end early. Past its timeout its process
/// is ended.
///
/// g++ 12 miscompiles temporaries with non-trivial members in an expression with `co_await`: name lambdas with captures
/// and structs before they are awaited. Weir's own functions refuse such lambdas at compile time, and weir_add_plugin
/// looks for the rest in the sources before it compiles them (workers/check-awaits).

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
