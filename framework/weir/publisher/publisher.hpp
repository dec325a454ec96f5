#pragma once

/// Publishing: messages leave in batches, within the queue's credit, and each is answered.
///
///     weir::Publisher publisher(engine, executor);
///     const weir::Confirmation told = co_await publisher.publish("emails", welcome);
///
/// or in bulk, with thousands under way, a million a second:
///
///     while (more()) {
///       if (!publisher.try_send("emails", type, next())) co_await publisher.room("emails");
///     }
///     co_await publisher.flush();
///
/// A connection that is lost is made again, and what was not answered is sent again; the engine stores it once.
///
/// Thread: the executor's one thread, for everything.

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

/// How a publish ended: confirmed (its id says where the message is), refused (and why), or in doubt: the engine has
/// forgotten this publisher, or its store is another or an older one than that which took it, and whether it took the
/// message before is not known.
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

  /// `engine` must outlive the publisher. Nothing is connected before the first use.
  Publisher(engine::Engine& engine, boost::asio::any_io_executor executor);
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;
  /// What is unanswered then is in doubt, and what has not left is lost: flush() first.
  ~Publisher();

  /// Publishes one message and awaits its answer.
  ///
  /// Throws: UnknownQueue, TooLarge; Error if its priority is above 9; Refused when the engine says no for good.
  /// Cancellation: terminal; the message may have been taken.
  [[nodiscard]] task<Confirmation> publish(std::string_view queue, const google::protobuf::MessageLite& message,
                                           PublishOptions options = {});
  [[nodiscard]] task<Confirmation> publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                                               PublishOptions options = {});

  /// Takes the message if the queue has credit for it; false: await room(), and try again. Never waits.
  /// What was taken leaves at the end of the loop's turn; where several small frames are unanswered, with the next
  /// answer, or two milliseconds later. Throws: as publish().
  [[nodiscard]] bool try_send(std::string_view queue, std::string_view type, std::string_view payload,
                              const PublishOptions& options = {});
  [[nodiscard]] bool try_send(std::string_view queue, const google::protobuf::MessageLite& message,
                              const PublishOptions& options = {});
  /// Ends when the queue may have credit for what try_send() last refused. Connects first, if need be.
  /// Throws: UnknownQueue, Refused. Cancellation: terminal.
  [[nodiscard]] task<> room(std::string_view queue);
  /// try_send(), and room() until it succeeds: awaits credit only, not the answer.
  [[nodiscard]] task<> send(std::string_view queue, std::string_view type, std::string_view payload,
                            PublishOptions options = {});
  /// Awaits the answers to all that was sent. Throws: Refused. Cancellation: terminal.
  [[nodiscard]] task<> flush();
  /// Says goodbye: flush() first. Nothing of the publisher is left in the loop then: io_context.run() can end. What is
  /// used of it afterwards throws Error.
  [[nodiscard]] task<> close();

  [[nodiscard]] const Counts& counts() const;
  /// The number of the message that try_send() took last, as confirmations name it; from 1.
  [[nodiscard]] std::uint64_t last_number() const;
  /// Called with every answer, a run of neighbouring numbers at a time.
  void on_answer(std::function<void(const Confirmation&)> listener);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the coroutine that reads answers
};

}  // namespace weir
