#pragma once

/// Gathers the outcomes of one turn of the loop into one settle frame.

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/handler/end.hpp"

namespace weir::worker {

/// The number of settlements by outcome, for metrics and tests.
struct Settled {
  std::uint64_t acked{};
  std::uint64_t retried{};
  std::uint64_t rejected{};
  std::uint64_t released{};
  std::uint64_t deferred{};  ///< with the throttled ones
  Settled& operator+=(const Settled& other) {
    acked += other.acked;
    retried += other.retried;
    rejected += other.rejected;
    released += other.released;
    deferred += other.deferred;
    return *this;
  }
};

/// Thread: the shard's. Lifetime: it outlives the functions that it posts to its loop.
class Settler {
 public:
  /// The most settlements that may be sent and not confirmed. At this bound no further handler starts.
  static constexpr std::uint64_t unconfirmed_most = 65'536;

  Settler(asio::any_io_executor executor, engine::Session& session, Bytes output_bytes_most);

  /// Settles by the usual end, an ack without outputs.
  void ack(engine::Ticket ticket) { add(engine::Settlement{ticket, Outcome::ack, nullptr}); }
  /// Settles by an ack with outputs.
  void ack(engine::Ticket ticket, std::vector<engine::Output> outputs, std::uint64_t output_bytes);
  void release(engine::Ticket ticket) { add(engine::Settlement{ticket, Outcome::release, nullptr}); }
  /// Settles by any other end. `took`: how long the handler has run until now.
  void settle(engine::Ticket ticket, const End& end, std::chrono::steady_clock::duration took);

  /// Sends the gathered settlements. Happens by itself at the end of the turn.
  void flush();

  /// How many more handlers may start before the bound; 0 at it.
  [[nodiscard]] std::uint64_t room() const;
  [[nodiscard]] const Settled& settled() const { return settled_; }
  [[nodiscard]] std::size_t unsent() const { return gathered_.size(); }

 private:
  void add(engine::Settlement settlement);

  asio::any_io_executor executor_;
  engine::Session& session_;
  std::uint64_t output_bytes_most_;
  std::vector<engine::Settlement> gathered_;
  std::uint64_t gathered_output_bytes_ = 0;
  Settled settled_;
};

/// Returns `text` in the form that the protocol takes: valid UTF-8 of at most 1,000 bytes.
[[nodiscard]] std::string printable_reason(std::string_view text);

}  // namespace weir::worker
