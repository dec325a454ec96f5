#pragma once

/// An engine for the worker's tests: it delivers what a test says, and keeps what it is told.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::test {

/// What became of one delivery.
struct Told {
  engine::Ticket ticket{};
  Outcome outcome{};
  std::string error;
  std::optional<Duration> delay;
  std::vector<std::string> outputs;
  friend bool operator==(const Told&, const Told&) = default;
};

class ScriptedSession final : public engine::Session {
 public:
  task<engine::Batch> receive() override { throw Error("the script has no receive"); }
  void settle(std::span<engine::Settlement> settlements) override {
    frames.push_back(settlements.size());
    unconfirmed_now.settlements += settlements.size();
    for (engine::Settlement& each : settlements) {
      Told what{each.ticket, each.outcome, {}, {}, {}};
      if (each.detail) {
        what.error = each.detail->error;
        what.delay = each.detail->delay;
        for (const engine::Output& output : each.detail->outputs) {
          what.outputs.push_back(output.queue);
          unconfirmed_now.output_bytes += output.body.size();
        }
      }
      told.push_back(std::move(what));
    }
  }
  [[nodiscard]] engine::Unconfirmed unconfirmed() const override { return unconfirmed_now; }
  task<> all_confirmed() override { co_return; }
  void stop_taking() override {}
  task<> close() override { co_return; }
  [[nodiscard]] bool connected() const override { return true; }
  [[nodiscard]] bool has_queue(std::string_view) const override { return true; }
  [[nodiscard]] std::string id(const engine::Delivery& delivery) const override {
    return print_id("orders", delivery.segment, delivery.index);
  }
  [[nodiscard]] Bytes message_most() const override { return protocol::message_most_default; }

  [[nodiscard]] std::vector<engine::Ticket> tickets(Outcome outcome) const {
    std::vector<engine::Ticket> out;
    for (const Told& each : told) {
      if (each.outcome == outcome) out.push_back(each.ticket);
    }
    return out;
  }

  std::vector<Told> told;
  std::vector<std::size_t> frames;      ///< how many settlements each call had
  engine::Unconfirmed unconfirmed_now;  ///< until a test confirms them
};

/// A frame of messages with these payloads, under neighbouring tickets from `first`. `alive` tells whether it still is.
struct Frame {
  std::shared_ptr<const void> owner;
  std::weak_ptr<const void> alive;
  engine::Batch batch;
};

inline Frame frame_of(std::vector<std::string> payloads, engine::Ticket first = 0, std::string_view type = "text") {
  struct Kept {
    std::vector<std::string> bodies;
    std::string type;
  };
  auto kept = std::make_shared<Kept>();
  kept->type = type;
  for (const std::string& each : payloads) {
    std::string body;
    protocol::append_body(each, body);
    kept->bodies.push_back(std::move(body));
  }
  Frame frame;
  frame.alive = kept;
  for (std::size_t i = 0; i < kept->bodies.size(); ++i) {
    engine::Delivery delivery;
    delivery.ticket = first + static_cast<engine::Ticket>(i);
    delivery.attempt = 1;
    delivery.segment = 1;
    delivery.index = delivery.ticket;
    delivery.type = kept->type;
    delivery.body = kept->bodies[i];
    frame.batch.deliveries.push_back(delivery);
  }
  frame.batch.owner = std::move(kept);
  return frame;
}
inline engine::Batch batch_of(std::vector<std::string> payloads, engine::Ticket first = 0,
                              std::string_view type = "text") {
  return frame_of(std::move(payloads), first, type).batch;
}
inline std::vector<std::string> many(std::size_t count, const std::string& payload) {
  return std::vector<std::string>(count, payload);
}

}  // namespace weir::test
