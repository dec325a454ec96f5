// Sessions: frame counting, who may send what, beats, keep-alives, ends.
#include <utility>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

/// The most that is kept of the message id in a keep-alive, and of the words of an error: both may come from a peer.
constexpr std::size_t running_bytes_most = 1024;
constexpr std::size_t words_bytes_most = 8 * 1024;
constexpr std::size_t beats_a_tick = 512;

/// Cuts text between characters.
void cut_text(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text.resize(most);
}

void on_keep_alive(Turn& turn, const Client& client, const v1::KeepAlive& alive) {
  const auto token = ProcessToken::from(alive.process_token());
  Process* process = token ? vouch(turn.state, turn.now, *token) : nullptr;
  if (process == nullptr) {
    refuse(turn.state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "keep-alive: no session of this broker bears this process token", false, turn.actions);
    return;
  }
  for (const auto& shard : alive.shards()) {
    if (!process->workers.contains(shard.shard())) continue;  // not one of its sessions: it would never be shown
    v1::ShardState& kept = process->shards[shard.shard()] = shard;
    cut_text(*kept.mutable_running(), running_bytes_most);
  }
}

void close(State& state, Connection connection, Actions& actions) {
  state.ended.insert(connection);
  actions.emplace_back(Close{connection});
}

void on_goodbye(Turn& turn, Client& client) {
  const Connection connection = client.connection;
  if (Worker* worker = client.worker) {
    const auto process = turn.state.processes.find(worker->token);
    client.worker = nullptr;
    end_worker(turn.state, process->second, *worker, "goodbye", turn.actions);
    if (process->second.workers.empty()) turn.state.processes.erase(process);
  }
  on_disconnected(turn, connection);
  close(turn.state, connection, turn.actions);
}

void on_window(Turn& turn, Client& client, const v1::Window& window) {
  if (client.publisher != nullptr) {
    if (Queue* queue = turn.state.find_queue(window.queue())) {
      window_seen(turn.state, *queue, *client.publisher, window.epoch(), turn.actions);
    }
    return;
  }
  if (client.worker == nullptr || window.epoch() <= client.worker->window_epoch) return;
  client.worker->window_epoch = window.epoch();
  client.worker->window = cut_window(turn.state, *client.worker, window, turn.actions);
  dispatch_for(turn, *client.worker);
}

void on_interest(State& state, Client& client, const v1::Interest& interest, Actions& actions) {
  // Each queue is answered once, and all unknown names together: with an answer per name a small frame could cost much.
  QueueSet named;
  const std::string* unknown = nullptr;
  int unknowns = 0;
  for (const auto& name : interest.publish_to()) {
    if (const auto at = state.queues_by_name.find(name); at != state.queues_by_name.end()) {
      named.insert(at->second);
    } else if (unknowns++ == 0) {
      unknown = &name;
    }
  }
  if (unknown != nullptr) {
    const std::string others = unknowns == 1 ? "" : " and " + std::to_string(unknowns - 1) + " more";
    refuse(state, client.connection, v1::Error::UNKNOWN_QUEUE, "unknown queue '" + *unknown + "'" + others, false,
           actions);
  }
  for (Queue* queue : named) {
    open_window(state, *queue, *client.publisher);
    v1::Frame frame;
    fill_window(*queue, client.publisher->id, *frame.mutable_window());
    send(state, client.connection, std::move(frame), actions);
  }
}

}  // namespace

Process* vouch(State& state, Now now, const ProcessToken& token) {
  const auto process = state.processes.find(token);
  if (process == state.processes.end()) return nullptr;
  process->second.last_seen = now.instant;
  return &process->second;
}

void number_worker(State& state, Worker& worker) {
  worker.number = ++state.workers_counted;
  state.workers_by_number[worker.number] = &worker;
}

std::string print_worker(const Worker& worker) {
  return worker.group + "/" + worker.host + "/" + std::to_string(worker.pid) + "/" + std::to_string(worker.shard);
}

void send(State& state, Connection to, v1::Frame frame, Actions& actions) {
  Client* client = state.find_client(to);
  if (client == nullptr) return;
  frame.set_number(++client->frames_out);
  if (frame.has_welcome()) frame.mutable_welcome()->set_commits(state.commits);
  if (frame.has_settled()) frame.mutable_settled()->set_commits(state.commits);
  if (frame.has_control_reply()) frame.mutable_control_reply()->set_commits(state.commits);
  actions.emplace_back(Send{to, std::move(frame)});
}

void note(Actions& actions, Note::Level level, std::string event,
          std::vector<std::pair<std::string, std::string>> fields) {
  actions.emplace_back(Note{level, std::move(event), std::move(fields)});
}

void refuse(State& state, Connection to, v1::Error::Code code, std::string message, bool fatal, Actions& actions) {
  cut_text(message, words_bytes_most);
  note(actions, Note::Level::warning, fatal ? "session_refused" : "frame_refused",
       {{"connection", std::to_string(to)}, {"code", v1::Error::Code_Name(code)}, {"why", message}});
  v1::Frame frame;
  frame.mutable_error()->set_code(code);
  frame.mutable_error()->set_message(std::move(message));
  frame.mutable_error()->set_fatal(fatal);
  if (state.find_client(to) != nullptr) {
    send(state, to, std::move(frame), actions);
  } else {
    actions.emplace_back(Send{to, std::move(frame)});  // to a client without a session: number 0
  }
  if (!fatal) return;
  // Its leases stay: it may come back in a better session.
  Turn turn{state, Now{state.last_turn, {}}, actions};
  on_disconnected(turn, to);
  close(state, to, actions);
}

void refuse(Turn& turn, Connection to, v1::Error::Code code, std::string message) {
  refuse(turn.state, to, code, std::move(message), true, turn.actions);
}

void on_frame(Turn& turn, Connection from, const v1::Frame& head, const Slice& run) {
  Client* client = turn.state.find_client(from);
  if (client == nullptr) {
    if (turn.state.ended.contains(from)) return;
    if (!head.has_hello()) {
      refuse(turn, from, v1::Error::OUT_OF_SEQUENCE,
             "a frame before HELLO; say HELLO first (the session may have ended)");
      return;
    }
    client = (turn.state.clients[from] = std::make_unique<Client>()).get();
    client->connection = from;
  }
  if (client->worker != nullptr) vouch(turn.state, turn.now, client->worker->token);
  if (client->busy) return wait_for_work(turn.state, *client, head, run, turn.actions);
  handle_frame(turn, *client, head, run);
}

void handle_frame(Turn& turn, Client& client, const v1::Frame& head, const Slice& run) {
  const Connection from = client.connection;
  if (head.number() != client.frames_in + 1) {
    // RULE: frames_have_no_gap
    refuse(turn, from, v1::Error::OUT_OF_SEQUENCE,
           "frame " + std::to_string(head.number()) + " came after frame " + std::to_string(client.frames_in) +
               "; frames count from 1 without a gap");
    return;
  }
  ++client.frames_in;
  if (!client.welcomed && !head.has_hello()) {
    refuse(turn, from, v1::Error::OUT_OF_SEQUENCE, "a frame before HELLO was complete");
    return;
  }
  const auto needs = [&](bool ok, const char* what) {
    if (!ok) refuse(turn, from, v1::Error::NOT_ALLOWED, std::string(what) + " is not for this kind of session");
    return ok;
  };
  switch (head.body_case()) {
    case v1::Frame::kHello:
      return on_hello(turn, client, head.hello());
    case v1::Frame::kPublish:
      if (needs(client.publisher != nullptr, "PUBLISH")) on_publish(turn, client, head.publish(), run);
      return;
    case v1::Frame::kSettle:
      if (needs(client.worker != nullptr, "SETTLE")) {
        on_settle(turn, client, head.number(), head.settle(), run);
      }
      return;
    case v1::Frame::kWindow:
      return on_window(turn, client, head.window());
    case v1::Frame::kKeepAlive:
      return on_keep_alive(turn, client, head.keep_alive());
    case v1::Frame::kDeath:
      return on_death(turn, client, head.death());
    case v1::Frame::kInterest:
      if (needs(client.publisher != nullptr, "INTEREST"))
        on_interest(turn.state, client, head.interest(), turn.actions);
      return;
    case v1::Frame::kGoodbye:
      return on_goodbye(turn, client);
    case v1::Frame::kControl:
      turn.actions.emplace_back(Ask{from, head.control()});
      return;
    case v1::Frame::kBeat:
      return;
    default:
      refuse(turn.state, from, v1::Error::UNKNOWN_FRAME,
             "frame " + std::to_string(head.number()) + " is of a kind that this broker does not know or take", false,
             turn.actions);
  }
}

void on_disconnected(Turn& turn, Connection from) {
  Client* client = turn.state.find_client(from);
  if (client == nullptr) return;
  if (client->worker != nullptr && client->worker->connection == from) {
    client->worker->connection = 0;
    forget_unread(turn.state, *client->worker);
  }
  if (client->publisher != nullptr && client->publisher->connection == from) {
    client->publisher->connection = 0;
    client->publisher->ended_at = turn.now.instant;
    // The other publishers get its share of a bounded queue; what it had sent is answered when it returns.
    const auto queues = std::exchange(client->publisher->queues, {});
    for (const auto id : queues) close_window(turn.state, *turn.state.queues.at(id), client->publisher->id);
    for (const auto id : queues) share_room(turn.state, *turn.state.queues.at(id), turn.actions);
    // A publisher that has published nothing left no mark behind: it will not be asked for.
    const Publisher& gone = *client->publisher;
    if (gone.taken == 0 && !gone.stored && !gone.dirty) turn.state.publishers.erase(PublisherId{gone.id});
  }
  turn.state.hello_bytes -= client->hello_bytes;
  turn.state.waiting_bytes -= client->waiting_bytes;
  turn.state.clients.erase(from);
}

void forget_unknown_types(State& state) {
  for (auto& [id, queue] : state.queues) {
    if (queue->attached.empty()) queue->unknown_since.clear();
  }
}

void end_worker(State& state, Process& process, Worker& worker, const std::string& why, Actions& actions) {
  note(actions, why == "goodbye" ? Note::Level::info : Note::Level::warning, "session_ended",
       {{"worker", print_worker(worker)}, {"why", why}, {"held", std::to_string(worker.outstanding.messages.value)}});
  if (worker.naming != 0 && state.find_client(worker.naming) != nullptr) {
    refuse(state, worker.naming, v1::Error::REPLACED, "this session has ended: " + why, true, actions);
  }
  if (worker.connection != 0) {
    if (Client* client = state.find_client(worker.connection)) client->worker = nullptr;
    if (why != "goodbye") {
      refuse(state, worker.connection, v1::Error::REPLACED, "this session has ended: " + why, true, actions);
    }
  }
  for (auto& one : worker.attached) std::erase(one.queue->attached, &worker);
  forget_unknown_types(state);
  // Its end is committed before its messages go to another session.
  // RULE: end_is_committed_before_others_are_sent
  if (!worker.leases.empty()) state.gathering.returning.push_back(std::move(worker.leases));
  state.gathering.writes.emplace_back(ForgetSession{worker.token, worker.shard});
  // It may come back before the commit that noted it is on disk: that commit must not note the new session, as this end
  // comes after it.
  for (Pending* pending : {&state.gathering, &state.sealed}) {
    std::erase(pending->noted, std::pair{worker.token, worker.shard});
  }
  forget_unread(state, worker);
  if (worker.recovering) ++state.gathering.given_up;  // until its end is on disk it could still claim what it held
  state.workers_by_number.erase(worker.number);
  const std::uint32_t shard = worker.shard;
  process.workers.erase(shard);
}

namespace {

/// Drops the marks of publishers that left long ago.
void marks_tick(State& state, Now now) {
  constexpr Duration mark_kept = std::chrono::hours(1);
  for (auto at = state.publishers.begin(); at != state.publishers.end();) {
    if (at->second.connection == 0 && !at->second.dirty && now.instant - at->second.ended_at > mark_kept) {
      state.gathering.writes.emplace_back(DropPublisher{at->first});
      at = state.publishers.erase(at);
    } else {
      ++at;
    }
  }
}

}  // namespace

void sessions_tick(Turn& turn) {
  turn.state.ended.clear();
  const Duration timeout = turn.state.config.session_timeout;
  // The broker itself was away, and could read no keep-alive. Each process gets a fresh session timeout.
  // RULE: fresh_time_after_a_gap
  if (turn.now.instant - turn.state.last_turn > timeout / 4) {
    for (auto& [token, process] : turn.state.processes) {
      process.last_seen = turn.now.instant;
      // This time does not count in a trial either: if the machine slept, for example, no process tried anything.
      for (auto& [shard, worker] : process.workers) {
        for (auto& [lease, trial] : worker->trials) trial.since += turn.now.instant - turn.state.last_turn;
      }
    }
  }
  for (auto at = turn.state.processes.begin(); at != turn.state.processes.end();) {
    const auto one = at++;
    const Duration silent = turn.now.instant - one->second.last_seen;
    if (silent <= timeout) continue;
    auto gone = turn.state.processes.extract(one);
    on_lost(turn, gone.key(), gone.mapped(), "no keep-alive for " + std::to_string(silent.count() / 1000) + " ms");
  }
  constexpr Duration lost_kept = std::chrono::hours(1);
  std::erase_if(turn.state.lost, [&](const auto& lost) { return turn.now.instant - lost.second.at > lost_kept; });
  if (turn.now.instant >= turn.state.next_beat) {
    turn.state.next_beat = turn.now.instant + timeout / 4;
    hellos_tick(turn);
    marks_tick(turn.state, turn.now);
    turn.state.to_beat.clear();
    for (const auto& [connection, client] : turn.state.clients) {
      if (client->welcomed) turn.state.to_beat.push_back(connection);
    }
  }
  // At most so many per tick: thousands of sessions must not hold up the loop.
  for (std::size_t n = 0; n < beats_a_tick && !turn.state.to_beat.empty(); ++n) {
    v1::Frame frame;
    frame.mutable_beat();
    send(turn.state, turn.state.to_beat.back(), std::move(frame), turn.actions);
    turn.state.to_beat.pop_back();
  }
}

}  // namespace weir::broker::core
