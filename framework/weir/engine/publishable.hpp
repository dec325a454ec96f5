#pragma once

/// What may be published: asked at the call, with the call's own words, before anything is kept of it.
///
/// What a broker would refuse it refuses with the whole frame, and its sender sends that again: so nothing leaves that
/// has not passed here. The broker checks the same again (protocol/index.cpp), for clients that are not ours.
/// proto/README.md has the table of all limits.

#include <string_view>

#include "weir/engine/engine.hpp"

namespace weir::engine {

/// Throws: Error, TooLarge; they begin with "publish to 'QUEUE': ". Of a type that passed once this need not be asked
/// again.
void check_type(std::string_view queue, std::string_view type);
/// All but the type, and the size of the message itself: that is checked as an encoded Body, against
/// `broker.message_most`. Throws: as check_type().
void check_publishable(const Outgoing& message);

}  // namespace weir::engine
