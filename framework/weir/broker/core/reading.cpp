// Reading: a worker that does not read is sent no more.
//
// Frames to a peer that does not read stay in this process until its kernel takes them, and a window is as large as its
// worker says. So the shell tells how much of what was sent has arrived. A worker that has nothing unread may always be
// sent one frame more: it does not wait for others that are stuck.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

constexpr std::uint64_t share_of_one = 8;

bool may_be_sent(const State& state, const Worker& worker) {
  const auto most = state.config.unread_most;
  if (!most || worker.unread.value == 0) return true;
  return worker.unread.value < most->value / share_of_one && state.unread < *most;
}

}  // namespace

bool reads(State& state, Worker& worker) {
  if (may_be_sent(state, worker)) return true;
  state.choked.insert(&worker);
  return false;
}

void on_read(Turn& turn, Connection by, Bytes bytes) {
  const Client* client = turn.state.find_client(by);
  if (client == nullptr || client->worker == nullptr || client->worker->connection != by) return;
  Worker& reader = *client->worker;
  const Bytes read = std::min(bytes, reader.unread);
  reader.unread -= read;
  turn.state.unread -= read;
  if (turn.state.choked.empty()) return;
  // What one worker has read makes room for others too.
  std::vector<Worker*> able;
  std::copy_if(turn.state.choked.begin(), turn.state.choked.end(), std::back_inserter(able),
               [&](const Worker* worker) { return may_be_sent(turn.state, *worker); });
  for (Worker* worker : able) {
    turn.state.choked.erase(worker);
    dispatch_for(turn, *worker);
  }
}

void forget_unread(State& state, Worker& worker) {
  state.unread -= worker.unread;
  worker.unread = {};
  state.choked.erase(&worker);
}

}  // namespace weir::broker::core
