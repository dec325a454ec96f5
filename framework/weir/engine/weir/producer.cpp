// A publisher's session over a transport.
#include <utility>

#include "weir/engine/weir/clients.hpp"
#include "weir/engine/weir/producer_machine.hpp"

namespace weir::engine::weir_broker {
namespace {

class WeirProducer final : public Producer {
 public:
  WeirProducer(asio::any_io_executor executor, Connector& connector, Notice notice)
      : machine_(this_process(), random_id<PublisherId>()),
        client_(std::move(executor), connector, machine_, std::move(notice)) {}

  std::optional<std::uint64_t> offer(const Outgoing& message) override {
    if (!started_) start();
    const auto number = machine_.offer(message);
    if (!machine_.outbox.empty()) client_.carry_out();
    return number;
  }

  void flush() override {
    machine_.flush(now());
    client_.carry_out();
  }

  task<> room(std::string_view queue) override {
    // A copy: the caller's view need not outlive the first suspension.
    const std::string name(queue);
    if (!started_) start();
    // The window may be full of gathered messages. They leave within 2 ms.
    flush();
    while (!machine_.has_room(name)) {
      client_.carry_out();
      co_await client_.changed();
    }
  }

  task<std::vector<Confirmation>> confirmations() override {
    if (!started_) start();
    while (!machine_.has_answers()) {
      if (machine_.failure()) throw Refused(*machine_.failure());
      co_await client_.changed();
    }
    co_return machine_.take_answers();
  }

  [[nodiscard]] std::uint64_t unanswered() const override { return machine_.unanswered(); }

  task<> close() override {
    machine_.flush_at_once();
    machine_.goodbye(now());
    client_.carry_out();
    client_.wake();
    co_return;
  }

 private:
  void start() {
    started_ = true;
    client_.start();
  }

  ProducerMachine machine_;
  Client client_;
  bool started_ = false;
};

}  // namespace

std::unique_ptr<Producer> make_producer(asio::any_io_executor executor, Connector& connector, Notice notice) {
  return std::make_unique<WeirProducer>(std::move(executor), connector, std::move(notice));
}

}  // namespace weir::engine::weir_broker
