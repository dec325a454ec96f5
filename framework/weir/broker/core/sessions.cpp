// Sessions: frame counting, who may send what, beats, keep-alives, ends.
#include <utility>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

/// What is kept of a message's id that a keep-alive names, and of any error's words: both may quote a peer.
constexpr std::size_t running_bytes_most = 1024;
constexpr std::size_t words_bytes_most = 8 * 1024;
constexpr std::size_t beats_a_tick = 512;

/// Cuts text between characters.
void cut_text(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text.resize(most);
}

void on_keep_alive(State& state, Now now, const Client& client, const v1::KeepAlive& alive, Actions& actions) {
  const auto token = ProcessToken::from(alive.process_token());
  Process* process = token ? vouch(state, now, *token) : nullptr;
  if (process == nullptr) {
    refuse(state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "keep-alive: no session of this broker bears this process token", false, actions);
    return;
  }
  for (const auto& shard : alive.shards()) {
    if (!process->workers.contains(shard.shard())) continue;  // none of its sessions: nobody would ask for it
    v1::ShardState& kept = process->shards[shard.shard()] = shard;
    cut_text(*kept.mutable_running(), running_bytes_most);
  }
}

void close(State& state, Connection connection, Actions& actions) {
  state.ended.insert(connection);
  actions.emplace_back(Close{connection});
}

void on_goodbye(State& state, Now now, Client& client, Actions& actions) {
  const Connection connection = client.connection;
  if (Worker* worker = client.worker) {
    const auto process = state.processes.find(worker->token);
    client.worker = nullptr;
    end_worker(state, process->second, *worker, "goodbye", actions);
    if (process->second.workers.empty()) state.processes.erase(process);
  }
  on_disconnected(state, now, connection, actions);
  close(state, connection, actions);
}

void on_window(State& state, Now now, Client& client, const v1::Window& window, Actions& actions) {
  if (client.publisher != nullptr) {
    if (Queue* queue = state.find_queue(window.queue())) {
      window_seen(state, *queue, *client.publisher, window.epoch(), actions);
    }
    return;
  }
  if (client.worker == nullptr || window.epoch() <= client.worker->window_epoch) return;
  client.worker->window_epoch = window.epoch();
  client.worker->window = cut_window(state, *client.worker, window, actions);
  dispatch_for(state, now, *client.worker, actions);
}

void on_interest(State& state, Client& client, const v1::Interest& interest, Actions& actions) {
  // Each queue is answered once, and all unknown names together: an answer a name would let a small frame cost much.
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
    actions.emplace_back(Send{to, std::move(frame)});  // to a stranger: number 0
  }
  if (!fatal) return;
  // Its leases stay: it may come back with a better session.
  on_disconnected(state, Now{state.last_turn, {}}, to, actions);
  close(state, to, actions);
}

void on_frame(State& state, Now now, Connection from, const v1::Frame& head, const Slice& run, Actions& actions) {
  Client* client = state.find_client(from);
  if (client == nullptr) {
    if (state.ended.contains(from)) return;
    if (!head.has_hello()) {
      refuse(state, from, v1::Error::OUT_OF_SEQUENCE,
             "a frame before HELLO; say HELLO first (the session may have ended)", true, actions);
      return;
    }
    client = (state.clients[from] = std::make_unique<Client>()).get();
    client->connection = from;
  }
  if (client->worker != nullptr) vouch(state, now, client->worker->token);
  if (client->busy) return wait_for_work(state, *client, head, run, actions);
  handle_frame(state, now, *client, head, run, actions);
}

void handle_frame(State& state, Now now, Client& client, const v1::Frame& head, const Slice& run, Actions& actions) {
  const Connection from = client.connection;
  if (head.number() != client.frames_in + 1) {
    refuse(state, from, v1::Error::OUT_OF_SEQUENCE,
           "frame " + std::to_string(head.number()) + " came after frame " + std::to_string(client.frames_in) +
               "; frames count from 1 without a gap",
           true, actions);
    return;
  }
  ++client.frames_in;
  if (!client.welcomed && !head.has_hello()) {
    refuse(state, from, v1::Error::OUT_OF_SEQUENCE, "a frame before HELLO was complete", true, actions);
    return;
  }
  const auto needs = [&](bool ok, const char* what) {
    if (!ok)
      refuse(state, from, v1::Error::NOT_ALLOWED, std::string(what) + " is not for this kind of session", true,
             actions);
    return ok;
  };
  switch (head.body_case()) {
    case v1::Frame::kHello:
      return on_hello(state, now, client, head.hello(), actions);
    case v1::Frame::kPublish:
      if (needs(client.publisher != nullptr, "PUBLISH")) on_publish(state, now, client, head.publish(), run, actions);
      return;
    case v1::Frame::kSettle:
      if (needs(client.worker != nullptr, "SETTLE")) {
        on_settle(state, now, client, head.number(), head.settle(), run, actions);
      }
      return;
    case v1::Frame::kWindow:
      return on_window(state, now, client, head.window(), actions);
    case v1::Frame::kKeepAlive:
      return on_keep_alive(state, now, client, head.keep_alive(), actions);
    case v1::Frame::kDeath:
      return on_death(state, now, client, head.death(), actions);
    case v1::Frame::kInterest:
      if (needs(client.publisher != nullptr, "INTEREST")) on_interest(state, client, head.interest(), actions);
      return;
    case v1::Frame::kGoodbye:
      return on_goodbye(state, now, client, actions);
    case v1::Frame::kControl:
      actions.emplace_back(Ask{from, head.control()});
      return;
    case v1::Frame::kBeat:
      return;
    default:
      refuse(state, from, v1::Error::UNKNOWN_FRAME,
             "frame " + std::to_string(head.number()) + " is of a kind that this broker does not know or take", false,
             actions);
  }
}

void on_disconnected(State& state, Now now, Connection from, Actions& actions) {
  Client* client = state.find_client(from);
  if (client == nullptr) return;
  if (client->worker != nullptr && client->worker->connection == from) {
    client->worker->connection = 0;
    forget_unread(state, *client->worker);
  }
  if (client->publisher != nullptr && client->publisher->connection == from) {
    client->publisher->connection = 0;
    client->publisher->ended_at = now.instant;
    // Its share of a bounded queue goes to the others; what it had sent is answered when it returns.
    const auto queues = std::exchange(client->publisher->queues, {});
    for (const auto id : queues) close_window(state, *state.queues.at(id), client->publisher->id);
    for (const auto id : queues) share_room(state, *state.queues.at(id), actions);
    // One that has published nothing left no mark behind: nobody will ask for it.
    const Publisher& gone = *client->publisher;
    if (gone.taken == 0 && !gone.stored && !gone.dirty) state.publishers.erase(PublisherId{gone.id});
  }
  state.hello_bytes -= client->hello_bytes;
  state.waiting_bytes -= client->waiting_bytes;
  state.clients.erase(from);
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
  // Its end is committed before its messages go to another.
  if (!worker.leases.empty()) state.gathering.returning.push_back(std::move(worker.leases));
  state.gathering.writes.emplace_back(ForgetSession{worker.token, worker.shard});
  // Should it come back before the commit that noted it is on disk: this end comes after that.
  for (Pending* pending : {&state.gathering, &state.sealed}) {
    std::erase(pending->noted, std::pair{worker.token, worker.shard});
  }
  forget_unread(state, worker);
  if (worker.recovering) ++state.gathering.given_up;  // until that is on disk it could still claim what it held
  state.workers_by_number.erase(worker.number);
  const std::uint32_t shard = worker.shard;
  process.workers.erase(shard);
}

namespace {

/// Marks of publishers that are gone for long.
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

void sessions_tick(State& state, Now now, Actions& actions) {
  state.ended.clear();
  const Duration timeout = state.config.session_timeout;
  // The broker itself was away: nobody's keep-alive could be read. Everyone gets a fresh session.
  if (now.instant - state.last_turn > timeout / 4) {
    for (auto& [token, process] : state.processes) {
      process.last_seen = now.instant;
      // Nor could the end of a trial: while the machine slept, say, nobody tried anything.
      for (auto& [shard, worker] : process.workers) {
        for (auto& [lease, trial] : worker->trials) trial.since += now.instant - state.last_turn;
      }
    }
  }
  for (auto at = state.processes.begin(); at != state.processes.end();) {
    const auto one = at++;
    const Duration silent = now.instant - one->second.last_seen;
    if (silent <= timeout) continue;
    auto gone = state.processes.extract(one);
    on_lost(state, now, gone.key(), gone.mapped(), "no keep-alive for " + std::to_string(silent.count() / 1000) + " ms",
            actions);
  }
  constexpr Duration lost_kept = std::chrono::hours(1);
  std::erase_if(state.lost, [&](const auto& lost) { return now.instant - lost.second.at > lost_kept; });
  if (now.instant >= state.next_beat) {
    state.next_beat = now.instant + timeout / 4;
    hellos_tick(state, now, actions);
    marks_tick(state, now);
    state.to_beat.clear();
    for (const auto& [connection, client] : state.clients) {
      if (client->welcomed) state.to_beat.push_back(connection);
    }
  }
  // So many a tick: thousands of sessions are not to hold up the loop.
  for (std::size_t n = 0; n < beats_a_tick && !state.to_beat.empty(); ++n) {
    v1::Frame frame;
    frame.mutable_beat();
    send(state, state.to_beat.back(), std::move(frame), actions);
    state.to_beat.pop_back();
  }
}

}  // namespace weir::broker::core
