#pragma once

/// Publishes: messages leave in batches, within the queue's credit, and each one is answered.
///
///     weir::Publisher publisher(engine, executor);
///     const weir::Confirmation told = co_await publisher.publish("emails", welcome);
///
/// In bulk, with thousands of messages under way, a million per second:
///
///     while (more()) {
///       if (!publisher.try_send("emails", type, next())) co_await publisher.room("emails");
///     }
///     co_await publisher.flush();
///
/// The publisher connects again after a lost connection, and sends again what was not answered. The engine stores each
/// message once.
///
/// Thread: the executor's one thread, for all calls.

#include <google/protobuf/message_lite.h>

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "weir/async/task.hpp"
#include "weir/engine/engine.hpp"
#include "weir/handler/context.hpp"

namespace weir {

/// How a publish ended. Confirmed: `id` says where the message is. Refused: `reason` says why. In doubt: the engine has
/// forgotten this publisher, or its store is another or an older one than the store that took the message, so it is not
/// known whether the message was taken.
using Confirmation = engine::Confirmation;

class Publisher {
 public:
  struct Counts {
    std::uint64_t sent{};
    std::uint64_t confirmed{};
    std::uint64_t refused{};
    std::uint64_t in_doubt{};
    [[nodiscard]] std::uint64_t unanswered() const { return sent - confirmed - refused - in_doubt; }
  };

  /// Connects at the first use, not before. Lifetime: `engine` must outlive the publisher.
  Publisher(engine::Engine& engine, boost::asio::any_io_executor executor);
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;
  /// Messages that are unanswered then are in doubt, and messages that have not left are lost: flush() first.
  ~Publisher();

  /// Publishes one message. Waits for a connection and the queue's credit, as send() does, and then for the answer.
  ///
  /// Throws: UnknownQueue, TooLarge; Error if its priority is above 9 or its type is not UTF-8; Refused if the engine
  /// says no for good.
  /// Cancellation: terminal; the message may have been taken.
  /// Lifetime: the task starts when it is first awaited, and reads its arguments only then. `message` must live until
  /// the task has started, as it is encoded then. `queue`, `type`, `payload`, the views in `options` and the publisher
  /// must live until the message has been taken. They are safe if they live until the task has ended.
  [[nodiscard]] task<Confirmation> publish(std::string_view queue, const google::protobuf::MessageLite& message,
                                           PublishOptions options = {});
  [[nodiscard]] task<Confirmation> publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                                               PublishOptions options = {});

  /// Takes the message and returns true, if the queue has credit for it. If false: await room(), and try again. Never
  /// waits.
  /// A message that was taken leaves at the end of the loop's turn. If several small frames are unanswered, it leaves
  /// with the next answer, or 2 ms later at most. The arguments need not outlive the call. Throws: as publish().
  [[nodiscard]] bool try_send(std::string_view queue, std::string_view type, std::string_view payload,
                              const PublishOptions& options = {});
  [[nodiscard]] bool try_send(std::string_view queue, const google::protobuf::MessageLite& message,
                              const PublishOptions& options = {});
  /// Waits until the queue may have credit for the message that try_send() last refused. Connects first, if need be.
  /// Throws: UnknownQueue, Refused. Cancellation: terminal.
  /// Lifetime: `queue` must live until the task has started, the publisher until it has ended.
  [[nodiscard]] task<> room(std::string_view queue);
  /// Repeats try_send() and room() until the message is taken. Waits for a connection and credit, not for the answer.
  /// Throws: as publish(). Cancellation: terminal; the message was not taken.
  /// Lifetime: the task starts when it is first awaited. All views and the publisher must live until it has ended.
  [[nodiscard]] task<> send(std::string_view queue, std::string_view type, std::string_view payload,
                            PublishOptions options = {});
  /// Waits for the answers to all messages that were sent. Throws: Refused. Cancellation: terminal.
  [[nodiscard]] task<> flush();
  /// Says goodbye: flush() first. Afterwards the loop holds nothing of the publisher, so io_context.run() can end. Any
  /// later use of the publisher throws Error.
  [[nodiscard]] task<> close();

  [[nodiscard]] const Counts& counts() const;
  /// Returns the number of the message that was taken last, as confirmations name it; from 1.
  [[nodiscard]] std::uint64_t last_number() const;
  /// Sets the function that is called with every answer. One answer covers a run of neighbouring numbers.
  void on_answer(std::function<void(const Confirmation&)> listener);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the coroutine that reads answers
};

}  // namespace weir
