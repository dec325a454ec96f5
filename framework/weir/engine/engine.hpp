#pragma once

/// The engine port: what a worker and a publisher need of an engine, which holds the queues.
///
/// It is made to fit the embedded broker (weir://), memory (memory://), AMQP 1.0 and JetStream alike. Deliveries come
/// in batches against a window. Settlements and publishes leave in batches. Confirmations come later. The engine itself
/// reconnects: a session outlives its connections, and its tickets stay valid.
///
/// Thread: a session or producer belongs to the one thread of the executor that it was made with.

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

/// The abilities of an engine. `weir check` prints them. No check compares them with the needs of a deployment: a
/// worker runs without what its engine lacks, such as keep-alives or death reports.
struct Capabilities {
  bool atomic_outputs = false;        ///< an ack and its outputs are one transaction
  bool settlement_confirmed = false;  ///< a settlement's confirmation can be awaited
  bool release_uncounted = false;     ///< a released delivery is not an attempt
  bool delays = false;                ///< messages may be published with a delay
  bool dead_letters = false;          ///< the engine itself keeps, lists and replays them
  bool idempotent_publish = false;    ///< a publish sent twice is stored once
  bool keep_alives = false;           ///< a lease lasts while the engine hears its process's keep-alive, whatever its
                                      ///< loops do
  bool death_reports = false;         ///< the engine takes reports of dead processes, and charges the culprit alone
  std::string durability;             ///< what a confirmed publish survives; a text for people
};

/// Names a held delivery in its session, from receive() until it is settled or lost, over any number of reconnects. It
/// is smaller than the window's messages, and is reused, so it can index an array.
using Ticket = std::uint32_t;

/// One message on its way to the worker. The views live as long as the batch's `owner`.
struct Delivery {
  Ticket ticket{};
  std::uint32_t queue{};  ///< index into SessionOptions::queues
  std::uint32_t attempt{};
  std::uint32_t index{};  ///< with `queue` and `segment` the message's place, which Session::id prints
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
  /// Deliveries that this session has lost. Cancel their handlers: their outcomes change nothing and need not be
  /// settled. Their tickets are free once this batch has been taken.
  std::vector<Ticket> lost;
  /// Another worker idles: up to `messages` of the queue with this index may be given back, if they have not started.
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
  std::string_view body;       ///< an encoded v1::Body without its beginning
  std::string_view body_head;  ///< the beginning; so a payload need not be copied behind its headers
  Duration delay{};
  std::optional<WallTime> deliver_at;
  Lane priority = default_lane;

  [[nodiscard]] Bytes size() const { return Bytes{body_head.size() + body.size()}; }
};

/// A message that a handler published, and that leaves with its ack: an Outgoing that owns its bytes.
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

/// The parts that only some settlements have.
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
  std::vector<std::string> types;  ///< those that the worker has handlers for
};

struct SessionOptions {
  std::string group;
  ProcessToken process;
  std::uint32_t shard{};
  std::vector<Attachment> queues;
  Load window;
};

/// Settlements that were sent and are not confirmed. A shard starts no handler while they are at their bound: 65,536
/// settlements, or as many bytes of outputs as the window has.
struct Unconfirmed {
  std::uint64_t settlements{};
  std::uint64_t output_bytes{};
};

/// A worker shard's session.
class Session {
 public:
  virtual ~Session() = default;

  /// Waits for the next deliveries or losses. Never delivers more than the window holds. Connects, and reconnects, by
  /// itself.
  ///
  /// Throws: Refused if the engine says no for good (an unknown queue, a version that it does not speak).
  /// Cancellation: terminal; no delivery is lost by it.
  virtual task<Batch> receive() = 0;

  /// Takes the settlements of one turn. They leave in one frame, which frees their part of the window. Never waits.
  virtual void settle(std::span<Settlement> settlements) = 0;

  [[nodiscard]] virtual Unconfirmed unconfirmed() const = 0;
  /// Waits until no settlement is unconfirmed. Cancellation: terminal.
  virtual task<> all_confirmed() = 0;

  /// Drain: takes no more deliveries (window 0). Deliveries that still come are released unseen.
  virtual void stop_taking() = 0;
  /// Says goodbye: deliveries that are still held return at once. Takes at most 1 s.
  virtual task<> close() = 0;

  [[nodiscard]] virtual bool connected() const = 0;
  /// True if the engine has that queue. False before the first connection.
  [[nodiscard]] virtual bool has_queue(std::string_view queue) const = 0;
  /// Returns the message's id as printed for people: orders/4f2a1.17.
  [[nodiscard]] virtual std::string id(const Delivery& delivery) const = 0;
  /// The largest message (encoded Body) that the engine takes.
  [[nodiscard]] virtual Bytes message_most() const = 0;
};

/// An answer to publishes `first` to `first + count - 1` of one queue.
struct Confirmation {
  std::uint64_t first{};
  std::uint32_t count{};
  enum class Answer { confirmed, refused, in_doubt } answer{};
  std::string id;      ///< of the first message, if confirmed and known
  std::string reason;  ///< if not confirmed
};

/// A publisher's session.
class Producer {
 public:
  virtual ~Producer() = default;

  /// Puts the message into the frame being built, if the queue's window has room, and returns its number, from 1. Else
  /// returns nothing.
  ///
  /// Frames leave when they are full, and at flush(). Throws: UnknownQueue, TooLarge.
  virtual std::optional<std::uint64_t> offer(const Outgoing& message) = 0;
  virtual void flush() = 0;
  /// Waits until the queue's window has room. Connects first, if need be. Throws: UnknownQueue, Refused.
  virtual task<> room(std::string_view queue) = 0;
  /// Waits for the next answers, which come in any order. Connects, and reconnects, by itself.
  virtual task<std::vector<Confirmation>> confirmations() = 0;
  [[nodiscard]] virtual std::uint64_t unanswered() const = 0;
  virtual task<> close() = 0;
};

/// One engine, as its URL names it. Lifetime: it outlives its sessions and producers.
class Engine {
 public:
  virtual ~Engine() = default;
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Session> session(asio::any_io_executor executor, SessionOptions options) = 0;
  [[nodiscard]] virtual std::unique_ptr<Producer> producer(asio::any_io_executor executor) = 0;

  /// Returns an object that keeps a worker process's leases for as long as it lives; nullptr without
  /// Capabilities::keep_alives.
  [[nodiscard]] virtual std::unique_ptr<KeepAlive> keep_alive(KeepAliveOptions) { return nullptr; }
  /// Reports that the process with this token is dead; only with Capabilities::death_reports. Tries until there is an
  /// answer, or until the limit is over. Blocks. It may start threads, so do not call it in a process that still forks.
  [[nodiscard]] virtual DeathAnswer report_death(const ProcessToken&, const DeadProcess&, Duration) {
    return DeathAnswer::no_answer;
  }
};

}  // namespace weir::engine
