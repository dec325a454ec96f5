#include "weir/testing.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <functional>

#include "weir/handler/plugin_file.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/v1/message.pb.h"
#include "weir/worker/plugin_code.hpp"
#include "weir/worker/slots.hpp"

namespace weir::testing {
namespace {

/// An engine that holds one message, and keeps what it is told of it.
class OneMessage final : public engine::Session {
 public:
  explicit OneMessage(const Given& given) : given_(given) {}

  task<engine::Batch> receive() override { throw Error("testing: nothing to receive"); }
  void settle(std::span<engine::Settlement> settlements) override {
    for (engine::Settlement& each : settlements) settlement = std::move(each);
  }
  [[nodiscard]] engine::Unconfirmed unconfirmed() const override { return {}; }
  task<> all_confirmed() override { co_return; }
  void stop_taking() override {}
  task<> close() override { co_return; }
  [[nodiscard]] bool connected() const override { return true; }
  [[nodiscard]] bool has_queue(std::string_view queue) const override {
    return !given_.queues || queue == given_.queue ||
           std::find(given_.queues->begin(), given_.queues->end(), queue) != given_.queues->end();
  }
  [[nodiscard]] std::string id(const engine::Delivery&) const override { return print_id(given_.queue, 1, 0); }
  [[nodiscard]] Bytes message_most() const override { return given_.message_most; }

  std::optional<engine::Settlement> settlement;

 private:
  const Given& given_;
};

std::string body_of(std::string_view payload, const Given& given) {
  v1::Body head;
  for (const auto& [name, value] : given.headers) {
    v1::Header& header = *head.add_headers();
    header.set_name(name);
    header.set_value(value);
  }
  std::string body;
  protocol::append_body(head.SerializeAsString(), payload, body);
  return body;
}

Published published_of(engine::Output output) {
  v1::Body body;
  if (!body.ParseFromString(output.body)) throw Error("testing: an output does not parse");
  Published published{std::move(output.queue),
                      std::move(output.type),
                      std::move(*body.mutable_payload()),
                      std::move(output.key),
                      std::move(output.unique_id),
                      {},
                      output.delay,
                      output.deliver_at,
                      output.priority};
  for (const v1::Header& each : body.headers()) published.headers.emplace_back(each.name(), each.value());
  return published;
}

Ran run_with(const std::function<void(Plugin&)>& registration, std::string_view type, std::string_view payload,
             const Given& given, const std::map<std::string, std::string>& with) {
  worker::GroupSettings settings;
  settings.name = "test";
  settings.queues = {given.queue};
  settings.timeout = given.timeout;
  settings.window = {Messages{1}, Bytes{1}};
  settings.with = with;
  OneMessage session(given);
  worker::recorder::Recorder recorder({.shards = 1, .slots = worker::slots_most(settings), .queues = settings.queues});
  std::unique_ptr<worker::Slots> slots;  // outlives the loop, which may hold its coroutine
  asio::io_context loop(1);
  worker::PluginCode code(loop);
  worker::Registry registry(settings, 0, code.executor());
  registration(registry);
  registry.check();
  if (registry.find(0, type) == nullptr) {
    throw handler::PluginError("no handler for type '" + std::string(type) + "' of queue '" + given.queue + "'");
  }
  slots = std::make_unique<worker::Slots>(loop, settings, registry, session, worker::Running(recorder, 0));
  code.runs_in(*slots);

  const auto body = std::make_shared<const std::string>(body_of(payload, given));
  engine::Batch batch;
  batch.owner = body;
  batch.deliveries.push_back(
      engine::Delivery{.ticket = 0,
                       .queue = 0,
                       .attempt = given.attempt,
                       .index = 0,
                       .segment = 1,
                       .name = given.name,
                       .published_at = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()),
                       .type = type,
                       .key = given.key,
                       .body = *body});
  asio::post(loop, [&] { slots->take(std::move(batch)); });
  const auto started = std::chrono::steady_clock::now();
  while (!session.settlement && loop.run_one() > 0) {
  }
  const auto took = std::chrono::steady_clock::now() - started;
  slots->close();
  loop.poll();
  if (!session.settlement) throw Error("testing: the handler waits for something that will never come");

  engine::Settlement& settlement = *session.settlement;
  Ran ran;
  ran.took = std::chrono::duration_cast<Duration>(took);
  if (settlement.detail) {
    ran.end = End(settlement.outcome, settlement.detail->error, settlement.detail->delay);
    for (engine::Output& each : settlement.detail->outputs) ran.published.push_back(published_of(std::move(each)));
  } else {
    ran.end = End(settlement.outcome);
  }
  return ran;
}

}  // namespace

Ran run(Registration registration, std::string_view type, std::string_view payload, const Given& given,
        const std::map<std::string, std::string>& with) {
  return run_with(registration, type, payload, given, with);
}

namespace detail {

Ran run(std::unique_ptr<handler::Handler> handler, std::string_view type, std::string_view payload,
        const Given& given) {
  return run_with(
      [&](Plugin& plugin) { static_cast<worker::Registry&>(plugin).add(given.queue, type, std::move(handler), {}); },
      type, payload, given, {});
}

}  // namespace detail
}  // namespace weir::testing
