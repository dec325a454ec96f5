#pragma once

/// The actions that the core asks of its shell, to be carried out in order.

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "weir/broker/core/store.hpp"
#include "weir/message/ids.hpp"
#include "weir/v1/wire.pb.h"

namespace weir::broker::core {

/// A connection, as the shell numbers them. A number is never reused.
using Connection = std::uint64_t;

/// Send this frame; it has no run. `head.number` is set.
struct Send {
  Connection to{};
  v1::Frame frame;
};
/// Neighbouring messages to hand over; the shell reads their bytes and columns from `ahead`, else from the store.
struct Piece {
  SegmentKey key;
  std::uint32_t first{};
  std::uint32_t count{};
  std::uint64_t lease{};  ///< counter of the first message's lease; the incarnation is the broker's
  std::uint32_t attempt{};
  Source source{};                        ///< record: count is 1 and the place is (key.queue, key.segment, first)
  std::shared_ptr<const Contents> ahead;  ///< contents of a segment that is delivered ahead of its commit
};
/// Send a Deliver frame of these pieces, numbered `number`.
struct SendDelivery {
  Connection to{};
  std::uint64_t number{};
  std::uint64_t commits{};  ///< that are on disk
  std::vector<Piece> pieces;
};
/// Forget the connection, after what was sent before. Nothing from it is wanted any more.
struct Close {
  Connection connection{};
};
/// An operator's request, in sequence: the shell checks the right, and answers through reply(), replay_dead() or
/// purge_dead().
struct Ask {
  Connection from{};
  v1::ControlRequest request;
};
/// Something that a person should know; the shell logs it.
struct Note {
  enum class Level { info, warning, error } level{};
  std::string event;  ///< e.g. "session_ended"
  std::vector<std::pair<std::string, std::string>> fields;
};

using Action = std::variant<Send, SendDelivery, Close, Ask, Note>;
using Actions = std::vector<Action>;

}  // namespace weir::broker::core
