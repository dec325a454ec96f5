// What clients send: frames, ends of connections, and bytes that are no frame.
#include <algorithm>
#include <chrono>
#include <utility>

#include "weir/broker/loop.hpp"
#include "weir/protocol/bounds.hpp"

namespace weir::broker {

void Server::Loop::on_frame(std::string_view peer, async::ZmqFrame frame) {
  if (stopping_ != Stopping::no) return;  // the frame is not confirmed, so it will be sent again
  const core::Connection from = heard(peer, frame.descriptor());
  if (from == 0) return;
  const Now at = now();
  if (!heavy_.is_heavy(peer, at.instant)) {
    later_.frame_came();
    return handle(at, peer, from, std::move(frame));
  }
  if (heavy_.hold(peer, std::move(frame))) return;
  core_->malformed(at, from, {v1::Error::TOO_MUCH, "more frames that take long than there is time for; send fewer"},
                   actions_);
}

void Server::Loop::handle(Now at, std::string_view peer, core::Connection from, async::ZmqFrame frame) {
  arena_.Reset();
  auto& head = *google::protobuf::Arena::CreateMessage<v1::Frame>(&arena_);
  const auto run = protocol::decode_bounded(frame.bytes(), head);
  if (!run) {
    core_->malformed(at, from, run.error(), actions_);
  } else if (run->empty()) {
    core_->frame(at, from, head, {}, actions_);
  } else {
    // The run is used where it lies, until its commit is on disk.
    const std::size_t run_bytes = run->size();
    Slice bytes = async::ZmqFrame::share(std::move(frame));
    core_->frame(at, from, head, bytes.sub(bytes.bytes.size() - run_bytes, run_bytes), actions_);
  }
  heavy_.took(peer, at.instant, now().instant);
}

void Server::Loop::handle_heavy(Instant until) {
  for (Now at = now(); at.instant < until; at = now()) {
    auto next = heavy_.next();
    if (!next) return;
    // If the peer's session has ended since, this frame of it is dropped.
    const Connections::Known* known = connections_.find(next->peer);
    if (known != nullptr) handle(at, next->peer, known->connection, std::move(next->frame));
  }
}

void Server::Loop::on_malformed(std::string_view peer, std::size_t parts) {
  if (stopping_ != Stopping::no) return;
  const core::Connection from = heard(peer, -1);
  if (from == 0) return;
  core_->malformed(now(), from,
                   {v1::Error::MALFORMED, "a message of " + std::to_string(parts) + " frames; it must be exactly one"},
                   actions_);
}

/// The number by which the core knows `peer`; 0: the peer was refused.
core::Connection Server::Loop::heard(std::string_view peer, int descriptor) {
  admission_.took();
  Connections::Known* known = connections_.find(peer);
  if (known != nullptr) {
    admission_.peers().heard(known->tcp);
    return known->connection;
  }
  pump_->read_monitor();  // the monitor has told of this connection already
  std::string why = admission_.why_full();
  known = &connections_.add(peer);
  known->tcp = admission_.peers().meet(descriptor, known->connection);
  if (why.empty()) return known->connection;
  v1::Frame frame;
  frame.mutable_error()->set_code(v1::Error::TOO_MANY_CONNECTIONS);
  frame.mutable_error()->set_message(std::move(why));
  frame.mutable_error()->set_fatal(true);
  actions_.emplace_back(core::Send{known->connection, std::move(frame)});
  actions_.emplace_back(core::Close{known->connection});
  return 0;
}

void Server::Loop::on_unreachable(std::string_view peer) {
  const Connections::Known* gone = connections_.find(peer);
  if (gone == nullptr) return;
  disconnected(gone->connection);
  turn_again();
}

void Server::Loop::disconnected(core::Connection gone) {
  connections_.forget(gone);
  core_->disconnected(now(), gone, actions_);
}

}  // namespace weir::broker
