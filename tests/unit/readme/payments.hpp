#pragma once

/// Stands for what README.md's reader has already: an author's own functions.

#include <chrono>
#include <weir/handler.hpp>

#include "bakery/bakery.pb.h"

inline weir::task<> charge(const bakery::OrderPlaced& order) {
  co_await weir::sleep(order.id() == "slow" ? std::chrono::hours(1) : std::chrono::milliseconds(1));
}

inline bakery::Confirmation confirmation(const bakery::OrderPlaced& order) {
  bakery::Confirmation made;
  made.set_order(order.id());
  return made;
}
