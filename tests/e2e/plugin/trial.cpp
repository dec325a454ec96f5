/// Ends as its messages tell it to, and writes down that they came: a line in a ledger.

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <weir/handler.hpp>

#include "trial/trial.pb.h"

namespace {

/// One write() a line: whole lines, whoever else writes.
void note(const std::string& ledger, std::string line) {
  line += '\n';
  const int file = open(ledger.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0 || write(file, line.data(), line.size()) < 0) throw std::runtime_error("cannot write to " + ledger);
  close(file);
}

weir::task<> order(weir::Context&, const trial::Order& order, std::string ledger) {
  note(ledger, order.id());
  if (order.what() == "reject") throw weir::Reject("asked to reject");
  if (order.what() == "fail") throw std::runtime_error("asked to fail");
  if (order.what() == "crash") std::abort();
  if (order.what() == "sleep") co_await weir::sleep(std::chrono::milliseconds(order.milliseconds()));
  note(ledger, order.id() + " done");
}

weir::task<> text(weir::Context&, std::string_view payload, std::string ledger) {
  note(ledger, std::string(payload));
  co_return;
}

}  // namespace

WEIR_PLUGIN(plugin) {
  const std::string ledger = plugin.option("ledger", "ledger");
  const std::string ends = plugin.option("registration", "");
  if (ends == "aborts") std::abort();
  if (ends == "throws") throw 42;
  plugin.on<trial::Order>(
      "orders", [ledger](weir::Context& ctx, const trial::Order& message) { return order(ctx, message, ledger); });
  const std::string twice = plugin.option("twice", "");
  if (!twice.empty() && (twice != "in shard 1" || plugin.shard() == 1)) {
    plugin.on<trial::Order>(
        "orders", [ledger](weir::Context& ctx, const trial::Order& message) { return order(ctx, message, ledger); });
  }
  for (int i = std::stoi(plugin.option("many", "0")); i > 0; --i) {
    plugin.on_raw("many.queues.with.long.names." + std::to_string(i), "text",
                  [ledger](weir::Context& ctx, std::string_view payload) { return text(ctx, payload, ledger); });
  }
  plugin.on_raw("notes", "text",
                [ledger](weir::Context& ctx, std::string_view payload) { return text(ctx, payload, ledger); });
}
