#pragma once

/// The engine port: what a worker and a publisher need of whatever holds the queues.
///
/// Made for the embedded broker (weir://), memory (memory://), AMQP 1.0 and JetStream alike: deliveries come in batches
/// against a window, settlements and publishes leave in batches, confirmations come later. Reconnecting is the engine's
/// own affair: a session outlives its connections, and tickets stay valid over them.
///
/// Thread: everything of one session or producer belongs to the one thread of the executor it was made with.

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/async/task.hpp"
#include "weir/engine/process.hpp"
#include "weir/message/error.hpp"
#include "weir/message/ids.hpp"
#include "weir/message/name.hpp"
#include "weir/message/outcome.hpp"
#include "weir/message/units.hpp"

namespace weir::engine {

/// What an engine can do. Printed by `weir check`; what a deployment needs and an engine lacks is refused at the start.
struct Capabilities {
  bool atomic_outputs = false;        ///< an ack and its outputs are one
  bool settlement_confirmed = false;  ///< a settlement's confirmation can be awaited
  bool release_uncounted = false;     ///< a released delivery is not an attempt
  bool delays = false;                ///< messages may be published with a delay
  bool dead_letters = false;          ///< kept, listed, replayed by the engine itself
  bool idempotent_publish = false;    ///< a publish sent twice is stored once
  bool keep_alives = false;           ///< leases last as long as their process is vouched for, whatever its loops do
  bool death_reports = false;         ///< the death of a process is told, and judged: its culprit pays, nobody else
  std::string durability;             ///< what a confirmed publish survives, for people
};

/// Names a held delivery in its session: from receive() until it is settled or lost, over any number of reconnects.
/// Below the window's messages, and reused: fit to index an array.
using Ticket = std::uint32_t;

/// One message, handed to the worker. The views live as long as the batch's `owner`.
struct Delivery {
  Ticket ticket{};
  std::uint32_t queue{};  ///< index into SessionOptions::queues
  std::uint32_t attempt{};
  std::uint32_t index{};  ///< with `segment`: the message's place; Session::id prints it
  SegmentNumber segment{};
  MessageName name;
  WallTime published_at;
  std::string_view type;
  std::string_view key;
  std::string_view body;  ///< an encoded v1::Body
};

struct Batch {
  std::shared_ptr<const void> owner;
  std::vector<Delivery> deliveries;
  /// Deliveries that are not ours any more: cancel their handlers; what they end with changes nothing and need not be
  /// settled. Their tickets are free once this batch has been taken.
  std::vector<Ticket> lost;
  /// Others idle: so many messages of a queue (its index) may go back, of those that have not started.
  struct Recall {
    std::uint32_t queue{};
    std::uint64_t messages{};
  };
  std::vector<Recall> recalls;
};

/// A message on its way to a queue.
struct Outgoing {
  std::string_view queue;
  std::string_view type;
  std::string_view key;
  std::string_view unique_id;
  std::string_view body;       ///< an encoded v1::Body, but for
  std::string_view body_head;  ///< its first bytes: so a payload need not be copied to stand behind its headers
  Duration delay{};
  std::optional<WallTime> deliver_at;
  Lane priority = default_lane;

  [[nodiscard]] Bytes size() const { return Bytes{body_head.size() + body.size()}; }
};

/// An Outgoing that owns its bytes: what a handler published, leaving with its ack.
struct Output {
  std::string queue;
  std::string type;
  std::string key;
  std::string unique_id;
  std::string body;
  Duration delay{};
  std::optional<WallTime> deliver_at;
  Lane priority = default_lane;
};

/// What only some settlements have.
struct SettlementDetail {
  std::optional<Duration> delay;  ///< retry, defer, throttled
  std::string error;
  WallTime started_at;
  Duration duration{};
  std::vector<Output> outputs;  ///< only with an ack
};

struct Settlement {
  Ticket ticket{};
  Outcome outcome = Outcome::ack;
  std::unique_ptr<SettlementDetail> detail;  ///< absent: a plain ack or release
};

struct Attachment {
  std::string queue;
  std::vector<std::string> types;  ///< that the worker knows there
};

struct SessionOptions {
  std::string group;
  ProcessToken process;
  std::uint32_t shard{};
  std::vector<Attachment> queues;
  Load window;
};

/// Settlements sent and not confirmed; a session starts no handler while they are at their bound (65,536; the window's
/// bytes for outputs).
struct Unconfirmed {
  std::uint64_t settlements{};
  std::uint64_t output_bytes{};
};

/// A worker shard's session.
class Session {
 public:
  virtual ~Session() = default;

  /// The next deliveries (never more than the window holds) or losses. Connects, and reconnects, by itself.
  ///
  /// Throws: Refused when the engine says no for good (an unknown queue, a version it does not speak).
  /// Cancellation: terminal; nothing is lost by it.
  virtual task<Batch> receive() = 0;

  /// Takes the settlements of one turn; they leave in one frame, which frees their window. Never waits.
  virtual void settle(std::span<Settlement> settlements) = 0;

  [[nodiscard]] virtual Unconfirmed unconfirmed() const = 0;
  /// Ends when no settlement is unconfirmed. Cancellation: terminal.
  virtual task<> all_confirmed() = 0;

  /// Drain: takes no more (window 0). What is delivered afterwards all the same is released unseen.
  virtual void stop_taking() = 0;
  /// Says goodbye: what is still held returns at once. Bounded by a second.
  virtual task<> close() = 0;

  [[nodiscard]] virtual bool connected() const = 0;
  /// False before the first connection; then whether the engine has that queue.
  [[nodiscard]] virtual bool has_queue(std::string_view queue) const = 0;
  /// As printed for people: orders/4f2a1.17.
  [[nodiscard]] virtual std::string id(const Delivery& delivery) const = 0;
  /// The largest message (encoded Body) that the engine takes.
  [[nodiscard]] virtual Bytes message_most() const = 0;
};

/// An answer to publishes `first` to `first + count - 1` of one queue.
struct Confirmation {
  std::uint64_t first{};
  std::uint32_t count{};
  enum class Answer { confirmed, refused, in_doubt } answer{};
  std::string id;      ///< of the first, if confirmed and known
  std::string reason;  ///< if not confirmed
};

/// A publisher's session.
class Producer {
 public:
  virtual ~Producer() = default;

  /// Puts the message into the frame being built, if the queue's window has room: its number, from 1. Else nothing.
  ///
  /// Frames leave when they are full, and at flush(). Throws: UnknownQueue, TooLarge.
  virtual std::optional<std::uint64_t> offer(const Outgoing& message) = 0;
  virtual void flush() = 0;
  /// Waits until the queue's window has room (connecting first if need be). Throws: UnknownQueue, Refused.
  virtual task<> room(std::string_view queue) = 0;
  /// The next answers, in any order. Connects, and reconnects, by itself.
  virtual task<std::vector<Confirmation>> confirmations() = 0;
  [[nodiscard]] virtual std::uint64_t unanswered() const = 0;
  virtual task<> close() = 0;
};

/// One engine, as its URL names it. Lives longer than its sessions and producers.
class Engine {
 public:
  virtual ~Engine() = default;
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Session> session(asio::any_io_executor executor, SessionOptions options) = 0;
  [[nodiscard]] virtual std::unique_ptr<Producer> producer(asio::any_io_executor executor) = 0;

  /// Vouches for a worker process for as long as it lives; nullptr without Capabilities::keep_alives.
  [[nodiscard]] virtual std::unique_ptr<KeepAlive> keep_alive(KeepAliveOptions) { return nullptr; }
  /// Tells that the process with this token is dead; only with Capabilities::death_reports. Tries until it is answered,
  /// or until `limit` is over. Blocking; it may start threads, so not in a process that still forks.
  [[nodiscard]] virtual DeathAnswer report_death(const ProcessToken&, const DeadProcess&, Duration) {
    return DeathAnswer::no_answer;
  }
};

}  // namespace weir::engine
