// The engine memory://.
#include "weir/engine/weir/engine.hpp"

#include <utility>

#include "weir/engine/memory/memory_broker.hpp"
#include "weir/engine/weir/clients.hpp"

namespace weir::engine::memory {
namespace {

class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(std::shared_ptr<MemoryBroker> broker)
      : broker_(std::move(broker)), capabilities_(memory::capabilities()) {}

  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] std::unique_ptr<Session> session(boost::asio::any_io_executor executor,
                                                 SessionOptions options) override {
    return weir_broker::make_session(std::move(executor), broker_->connector(), std::move(options), {});
  }
  [[nodiscard]] std::unique_ptr<Producer> producer(boost::asio::any_io_executor executor) override {
    return weir_broker::make_producer(std::move(executor), broker_->connector(), {});
  }

 private:
  std::shared_ptr<MemoryBroker> broker_;  // shared by all engines of its name; the last one ends it
  Capabilities capabilities_;
};

}  // namespace

Capabilities capabilities() {
  Capabilities able = weir_broker::capabilities();
  able.keep_alives = able.death_reports = false;  // the broker is in the same process
  able.durability = "nothing: it is gone with the process";
  return able;
}

std::unique_ptr<Engine> make_engine(std::shared_ptr<MemoryBroker> broker) {
  return std::make_unique<MemoryEngine>(std::move(broker));
}

}  // namespace weir::engine::memory
