#pragma once

/// Which peer may do what: asked here, and nowhere else.

#include <string_view>

#include "weir/v1/control.pb.h"

namespace weir::broker {

enum class Right { publish, consume, look, payload, operate };

[[nodiscard]] constexpr std::string_view word(Right right) {
  constexpr std::string_view words[] = {"publish", "consume", "look", "payload", "operate"};
  return words[static_cast<std::size_t>(right)];
}

/// The right that a request needs.
[[nodiscard]] inline Right right_for(const v1::ControlRequest& request) {
  switch (request.what_case()) {
    case v1::ControlRequest::kShowDead:
      return Right::payload;
    case v1::ControlRequest::kReplayDead:
    case v1::ControlRequest::kPurgeDead:
      return Right::operate;
    default:
      return Right::look;
  }
}

/// How a peer came in. The broker listens on loopback only, so there is one kind; keys will be another.
struct Peer {
  bool loopback = true;
};

/// Every process on this machine may do everything.
[[nodiscard]] constexpr bool may(const Peer& peer, Right) { return peer.loopback; }

}  // namespace weir::broker
