#pragma once

/// Checks whether a message may be published. It is asked at the call, before any part of the message is kept, and its
/// errors name the call's own values.
///
/// A broker refuses a wrong message with its whole frame, and the sender sends that frame again. So no message leaves
/// that was not checked here. The broker checks the same (protocol/index.cpp), for clients that are not Weir's.
/// proto/README.md has the table of all limits.

#include <string_view>

#include "weir/engine/engine.hpp"

namespace weir::engine {

/// Checks the type. A type that passed once need not be checked again.
/// Throws: Error, TooLarge; both begin with "publish to 'QUEUE': ".
void check_type(std::string_view queue, std::string_view type);
/// Checks all but the type and the size of the message. Its size is checked elsewhere, as an encoded Body, against
/// `broker.message_most`. Throws: as check_type().
void check_publishable(const Outgoing& message);

}  // namespace weir::engine
