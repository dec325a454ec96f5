#include "weir/engine/weir/death_report.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <optional>
#include <utility>

#include "weir/engine/weir/client.hpp"
#include "weir/engine/weir/engine.hpp"
#include "weir/engine/weir/zmq_transport.hpp"

namespace weir::engine::weir_broker {
namespace {

v1::Started::Part part_of(StartedDelivery::Part part) {
  switch (part) {
    case StartedDelivery::Part::culprit:
      return v1::Started::CULPRIT;
    case StartedDelivery::Part::on_cpu:
      return v1::Started::ON_CPU;
    case StartedDelivery::Part::ended:
      return v1::Started::ENDED;
    case StartedDelivery::Part::suspended:
      break;
  }
  return v1::Started::SUSPENDED;
}

/// At most 8,192 deliveries whose handlers waited are named, so that all fit one frame. The others return and are not
/// suspect.
constexpr std::size_t suspended_most = 8192;

v1::DeathReport report_of(const ProcessToken& process, const DeadProcess& dead) {
  v1::DeathReport report;
  report.set_process_token(std::string(process.view()));
  report.set_exit_code(dead.exit_code);
  report.set_signal(dead.signal);
  report.set_on_purpose(dead.on_purpose);
  std::size_t suspended = 0;
  for (const StartedDelivery& each : dead.started) {
    if (each.part == StartedDelivery::Part::suspended && suspended++ >= suspended_most) continue;
    v1::Started& started = *report.add_started();
    started.set_queue(each.queue);
    started.set_segment(each.segment);
    started.set_index(each.index);
    started.set_part(part_of(each.part));
    if (each.part < StartedDelivery::Part::on_cpu) continue;
    v1::Attempt& attempt = *started.mutable_attempt();
    attempt.set_started_at_us(each.started_at.time_since_epoch().count());
    attempt.set_duration_us(static_cast<std::uint64_t>(std::max(Duration{0}, each.duration).count()));
    attempt.set_error(each.error);
    attempt.set_stack(each.stack);
    attempt.set_memory_grown_bytes(each.memory_grown_bytes);
    for (const std::string& line : each.log) attempt.add_log(line);
  }
  report.set_stack(dead.stack);
  for (const std::string& line : dead.log) report.add_log(line);
  return report;
}

class DeathMachine final : public ClientMachine {
 public:
  DeathMachine(ClientSettings settings, v1::DeathReport report)
      : ClientMachine(std::move(settings)), report_(std::move(report)) {}
  std::optional<DeathAnswer> answer;

 protected:
  void hello(Instant) override {
    v1::Frame head;
    *head.mutable_hello() = hello_of(v1::KEEP_ALIVE);
    send(head);
  }
  void welcomed(Instant, const v1::Welcome&) override {
    v1::Frame head;
    *head.mutable_death() = report_;
    send(head);
  }
  void received(Instant, const std::shared_ptr<Received>& frame) override {
    if (frame->head().has_control_reply()) answer = DeathAnswer::reported;
  }
  void warned(Instant, const v1::Error& error) override {
    if (error.code() == v1::Error::UNKNOWN_TOKEN) answer = DeathAnswer::unknown;
  }

 private:
  v1::DeathReport report_;
};

}  // namespace

DeathAnswer report_death(const std::string& url, const ProcessToken& process, const DeadProcess& dead, Duration limit) {
  asio::io_context loop{1};
  ZmqConnector connector(endpoint_of(url));
  DeathMachine machine(this_process(), report_of(process, dead));
  Client client(loop.get_executor(), connector, machine, {});
  client.start();
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!machine.answer && !machine.failure() && std::chrono::steady_clock::now() < deadline) {
    loop.run_one_until(deadline);
  }
  return machine.answer.value_or(DeathAnswer::no_answer);
}

}  // namespace weir::engine::weir_broker
