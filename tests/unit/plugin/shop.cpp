// The plugin that the tests load; as small as a real one can be.
#include <weir/handler.hpp>

#include "shop/shop.pb.h"

using namespace std::chrono_literals;

namespace {

weir::task<> charge(const shop::OrderPlaced& order) { co_await weir::sleep(order.id() == "slow" ? 1h : 1ms); }

shop::Confirmation confirmation(const shop::OrderPlaced& order) {
  shop::Confirmation out;
  out.set_id(order.id());
  return out;
}

weir::task<> confirm(weir::Context& ctx, const shop::OrderPlaced& order) {
  co_await weir::timeout(50ms, charge(order));
  if (order.items().empty()) throw weir::Reject("no items");
  ctx.publish("emails", confirmation(order));
}

}  // namespace

WEIR_PLUGIN(plugin) { plugin.on<shop::OrderPlaced>(plugin.option("queue", "orders"), confirm); }
