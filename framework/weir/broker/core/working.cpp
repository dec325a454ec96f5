// Working: goes on with what was left of a frame, a commit or a judgement when its effort was spent.
#include <utility>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// Frames of one client may wait behind one of its own. By its credit, an honest client has at most so much under way.
constexpr std::size_t waiting_bytes_most = 64 * 1024 * 1024;
/// The same bound for all clients together.
constexpr std::size_t all_waiting_bytes_most = 256 * 1024 * 1024;
/// What a frame holds in memory beside its bytes.
constexpr std::size_t frame_bytes = 512;
/// With so many moved messages gathered, work waits for their commit: each is looked at once more when it is on disk.
constexpr std::size_t moved_most = 16'384;

void serve_unserved(Turn& turn) {
  const auto queues = std::exchange(turn.state.unserved, {});
  QueueSet all;
  for (const auto& [id, queue] : queues) all.insert(queue);
  if (!all.empty()) dispatch(turn, all);
}

/// Goes on with the rest of the client's frame, and with the frames that came behind it. False: there is more.
bool go_on(Turn& turn, Connection connection) {
  while (!turn.state.effort.spent()) {
    // Work may end its own session: the client is looked up again after it.
    Client* client = turn.state.find_client(connection);
    if (client == nullptr) return true;
    if (client->work != nullptr) {
      std::unique_ptr<Work> work = std::move(client->work);
      const bool done = work->go_on(turn);
      client = turn.state.find_client(connection);
      if (client == nullptr) return true;
      if (!done) client->work = std::move(work);
      continue;
    }
    if (client->waiting.empty()) {
      client->busy = false;
      return true;
    }
    const Client::Waiting next = std::move(client->waiting.front());
    client->waiting.pop_front();
    client->waiting_bytes -= next.bytes;
    turn.state.waiting_bytes -= next.bytes;
    handle_frame(turn, *client, next.head, next.run);
  }
  return turn.state.find_client(connection) == nullptr;
}

}  // namespace

void begin_work(State& state, Client& client, std::unique_ptr<Work> work) {
  client.work = std::move(work);
  if (std::exchange(client.busy, true)) return;
  state.busy.push_back(client.connection);
}

void wait_for_work(State& state, Client& client, const v1::Frame& head, const Slice& run, Actions& actions) {
  const std::size_t bytes = head.SpaceUsedLong() + run.bytes.size() + frame_bytes;
  if (client.waiting_bytes + bytes > waiting_bytes_most || state.waiting_bytes + bytes > all_waiting_bytes_most) {
    refuse(state, client.connection, v1::Error::TOO_MUCH,
           std::to_string(client.waiting_bytes) + " bytes of frames wait for one that takes long, of all clients " +
               std::to_string(state.waiting_bytes) + "; at most " + std::to_string(waiting_bytes_most) + " and " +
               std::to_string(all_waiting_bytes_most) + ": keep within the windows, and wait for answers",
           true, actions);
    return;
  }
  client.waiting_bytes += bytes;
  state.waiting_bytes += bytes;
  client.waiting.push_back({head, run, bytes});
}

bool has_work(const State& state) {
  if (state.work.empty() && state.busy.empty() && state.unserved.empty()) return false;
  // The next commit has enough already, and comes first.
  return state.gathering.moved.size() < moved_most;
}

void go_on(Turn& turn) {
  if (!has_work(turn.state)) return;
  serve_unserved(turn);
  // Each part has an effort of its own: deliveries must not keep back what comes in.
  turn.state.effort.refill(turn.state.config.effort_ns);
  if (!turn.state.work.empty()) {
    std::unique_ptr<Work> work = std::move(turn.state.work.front());
    turn.state.work.pop_front();
    if (!work->go_on(turn)) turn.state.work.push_front(std::move(work));
  }
  turn.state.effort.refill(turn.state.config.effort_ns);
  for (std::size_t n = turn.state.busy.size(); n > 0 && !turn.state.effort.spent(); --n) {
    const Connection connection = turn.state.busy.front();
    turn.state.busy.pop_front();
    if (!go_on(turn, connection)) turn.state.busy.push_back(connection);
  }
}

}  // namespace weir::broker::core
