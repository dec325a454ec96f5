// What Weir itself costs a message in the worker: 256 delivered, trivial handlers, settled.
#include "../unit/scripted_session.hpp"
#include "counted.hpp"
#include "weir/handler.hpp"
#include "weir/v1/message.pb.h"
#include "weir/worker/slots.hpp"

namespace {

using namespace weir;
using namespace weir::worker;

constexpr std::size_t batch = 256;

/// Takes settlements and forgets them.
class Engine final : public engine::Session {
 public:
  task<engine::Batch> receive() override { throw Error("unused"); }
  void settle(std::span<engine::Settlement> settlements) override { settled += settlements.size(); }
  [[nodiscard]] engine::Unconfirmed unconfirmed() const override { return {}; }
  task<> all_confirmed() override { co_return; }
  void stop_taking() override {}
  task<> close() override { co_return; }
  [[nodiscard]] bool connected() const override { return true; }
  [[nodiscard]] bool has_queue(std::string_view) const override { return true; }
  [[nodiscard]] std::string id(const engine::Delivery&) const override { return {}; }
  [[nodiscard]] Bytes message_most() const override { return protocol::message_most_default; }
  std::uint64_t settled = 0;
};

void run(benchmark::State& state, const std::string& payload, const std::function<void(Plugin&)>& registration) {
  GroupSettings settings;
  settings.queues = {"orders"};
  settings.concurrency = settings.window.messages.value;
  Engine session;
  recorder::Recorder record({.shards = 1, .slots = slots_most(settings), .queues = settings.queues});
  std::unique_ptr<Slots> slots;
  asio::io_context loop(1);
  Registry registry(settings, 0, loop.get_executor());
  registration(registry);
  slots = std::make_unique<Slots>(loop, settings, registry, session, Running(record, 0));
  slots->set_turn_time(std::chrono::hours(1));  // or instructions would depend on how fast they run
  const engine::Batch frame = test::batch_of(test::many(batch, payload));
  for (auto _ : state) {
    // The batch's own vector is the engine's cost; here it is one copy a batch.
    asio::post(loop, [&] { slots->take(frame); });
    loop.restart();
    loop.poll();
  }
  if (session.settled != state.iterations() * batch) state.SkipWithError("not all were settled");
  state.SetItemsProcessed(static_cast<std::int64_t>(session.settled));
  slots->close();
  loop.restart();
  loop.poll();
}

task<> raw(Context&, std::string_view) { co_return; }
task<> typed(Context&, const v1::Header&) { co_return; }
task<> suspends(Context&, std::string_view) { co_await asio::post(asio::use_awaitable); }

void raw_payload(benchmark::State& state) {
  run(state, std::string(256, 'x'), [](Plugin& plugin) { plugin.on_raw("orders", "text", raw); });
}
BENCHMARK(raw_payload)->Apply(bench::counted);

void typed_message(benchmark::State& state) {
  v1::Header header;
  header.set_value(std::string(250, 'x'));
  GroupSettings settings;
  run(state, header.SerializeAsString(), [](Plugin& plugin) {
    // Under the type that the frame names.
    static_cast<Registry&>(plugin).add(
        "orders", "text", std::make_unique<handler::TypedHandler<v1::Header, decltype(&typed)>>(&typed), {});
  });
}
BENCHMARK(typed_message)->Apply(bench::counted);

void one_suspension(benchmark::State& state) {
  run(state, std::string(256, 'x'), [](Plugin& plugin) { plugin.on_raw("orders", "text", suspends); });
}
BENCHMARK(one_suspension)->Apply(bench::counted);

}  // namespace

BENCHMARK_MAIN();
