// A worker shard's session over a transport.
#include <utility>

#include "weir/engine/weir/clients.hpp"
#include "weir/engine/weir/session_machine.hpp"

namespace weir::engine::weir_broker {
namespace {

class WeirSession final : public Session {
 public:
  WeirSession(asio::any_io_executor executor, Connector& connector, SessionOptions options, Notice notice)
      : machine_(this_process(), std::move(options)),
        client_(std::move(executor), connector, machine_, std::move(notice)) {}

  task<Batch> receive() override {
    client_.start();
    for (;;) {
      if (auto batch = machine_.take(now())) {
        client_.carry_out();
        co_return std::move(*batch);
      }
      if (machine_.failure()) throw Refused(*machine_.failure());
      co_await client_.changed();
    }
  }

  void settle(std::span<Settlement> settlements) override {
    machine_.settle(now(), settlements);
    client_.carry_out();
  }

  [[nodiscard]] Unconfirmed unconfirmed() const override { return machine_.unconfirmed(); }

  task<> all_confirmed() override {
    while (machine_.unconfirmed().settlements > 0) {
      if (machine_.failure()) throw Refused(*machine_.failure());
      co_await client_.changed();
    }
  }

  void stop_taking() override {
    machine_.stop_taking(now());
    client_.carry_out();
  }

  task<> close() override {
    machine_.goodbye(now());
    client_.carry_out();
    client_.wake();
    co_return;
  }

  [[nodiscard]] bool connected() const override { return machine_.is_up(); }
  [[nodiscard]] bool has_queue(std::string_view queue) const override { return machine_.has_queue(queue); }
  [[nodiscard]] std::string id(const Delivery& delivery) const override { return machine_.id(delivery); }
  [[nodiscard]] Bytes message_most() const override { return machine_.message_most(); }

 private:
  SessionMachine machine_;
  Client client_;
};

}  // namespace

std::unique_ptr<Session> make_session(asio::any_io_executor executor, Connector& connector, SessionOptions options,
                                      Notice notice) {
  return std::make_unique<WeirSession>(std::move(executor), connector, std::move(options), std::move(notice));
}

}  // namespace weir::engine::weir_broker
