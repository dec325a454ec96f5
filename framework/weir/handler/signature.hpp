#pragma once

/// The signatures that a registered function may have. A wrong one is a compile error of one sentence.

#include <google/protobuf/message_lite.h>

#include <concepts>
#include <string_view>
#include <type_traits>

#include "weir/async/task.hpp"
#include "weir/handler/context.hpp"
#include "weir/handler/end.hpp"

namespace weir::handler {

/// The types that a handler may return.
template <class Task>
concept Returned = std::same_as<Task, task<>> || std::same_as<Task, task<End>> || std::same_as<Task, task<Outcome>>;

/// True if `Function` handles messages of type `Message`. Otherwise it does not compile, and the first error says what
/// to write.
template <class Message, class Function>
consteval bool is_message_handler() {
  if constexpr (!std::derived_from<Message, google::protobuf::MessageLite>) {
    static_assert(std::derived_from<Message, google::protobuf::MessageLite>,
                  "a handler's message must be a Protobuf message; payloads of another kind are handled undecoded, by "
                  "plugin.on_raw(queue, type, handler)");
    return false;
  } else if constexpr (!std::invocable<Function&, Context&, const Message&>) {
    static_assert(std::invocable<Function&, Context&, const Message&>,
                  "a handler of Message must take (weir::Context&, const Message&), in this order; write "
                  "weir::task<> name(weir::Context& ctx, const Message& message)");
    return false;
  } else {
    static_assert(Returned<std::invoke_result_t<Function&, Context&, const Message&>>,
                  "a handler must return weir::task<>, weir::task<weir::End> or weir::task<weir::Outcome>: it is a "
                  "coroutine; write weir::task<> name(weir::Context& ctx, const Message& message)");
    return Returned<std::invoke_result_t<Function&, Context&, const Message&>>;
  }
}

/// As is_message_handler, for a handler of undecoded payloads.
template <class Function>
consteval bool is_raw_handler() {
  if constexpr (!std::invocable<Function&, Context&, std::string_view>) {
    static_assert(std::invocable<Function&, Context&, std::string_view>,
                  "a handler of undecoded payloads must take (weir::Context&, std::string_view), in this order; write "
                  "weir::task<> name(weir::Context& ctx, std::string_view payload)");
    return false;
  } else {
    static_assert(Returned<std::invoke_result_t<Function&, Context&, std::string_view>>,
                  "a handler must return weir::task<>, weir::task<weir::End> or weir::task<weir::Outcome>: it is a "
                  "coroutine; write weir::task<> name(weir::Context& ctx, std::string_view payload)");
    return Returned<std::invoke_result_t<Function&, Context&, std::string_view>>;
  }
}

}  // namespace weir::handler
