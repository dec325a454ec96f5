// Sessions: hello, frame counting, beats, keep-alives, ends.
#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

std::string print_worker(const Worker& worker) {
  return worker.group + "/" + worker.host + "/" + std::to_string(worker.pid) + "/" + std::to_string(worker.shard);
}

/// An older connection of the same worker or publisher gives way.
void replace(State& state, Connection old, Actions& actions) {
  if (old == 0) return;
  refuse(state, old, v1::Error::REPLACED, "a newer session of the same worker or publisher took over", true, actions);
}

bool attach(State& state, Client& client, Worker& worker, const v1::Hello& hello, Actions& actions) {
  std::vector<Attached> attached;
  for (const auto& wanted : hello.attach()) {
    const auto at = state.queues_by_name.find(wanted.queue());
    if (at == state.queues_by_name.end()) {
      std::string known;
      for (const auto& [name, queue] : state.queues_by_name) known += (known.empty() ? "" : ", ") + name;
      refuse(state, client.connection, v1::Error::UNKNOWN_QUEUE,
             "unknown queue '" + wanted.queue() + "'; this broker has: " + (known.empty() ? "none" : known), true,
             actions);
      return false;
    }
    Attached one;
    one.queue = at->second;
    one.types = {wanted.types().begin(), wanted.types().end()};
    if (const Attached* before = worker.attachment(at->second)) one.outstanding = before->outstanding;
    attached.push_back(std::move(one));
  }
  for (auto& [id, queue] : state.queues) std::erase(queue->attached, &worker);
  worker.attached = std::move(attached);
  for (auto& one : worker.attached) {
    one.queue->attached.push_back(&worker);
    // Its clocks run only for types that nobody attached knows.
    if (one.types.empty()) one.queue->unknown_since.clear();
    for (const auto& type : one.types) one.queue->unknown_since.erase(type);
  }
  return true;
}

/// An answer of a WELCOME that covers `count` messages of `wanted` from its message `done` on.
v1::ClaimAnswer* answer(v1::Welcome& welcome, const v1::Claim& wanted, std::uint32_t done, std::uint32_t count) {
  auto* one = welcome.add_claims();
  one->set_queue(wanted.queue());
  one->set_segment(wanted.segment());
  one->set_first(wanted.first() + done);
  one->set_count(count);
  return one;
}

/// The leases that a worker names in its HELLO, against those that it has.
class Naming {
 public:
  Naming(State& state, Now now, Worker& worker, v1::Welcome& welcome, Actions& actions)
      : state_(state),
        now_(now),
        worker_(worker),
        welcome_(welcome),
        actions_(actions),
        granted_from_(state.next_lease) {
    for (auto& [lease, run] : worker_.leases) {
      run.settled_by_worker = true;  // until named as held
      for (std::uint32_t i = 0; run.claimed != LeaseId{} && i < run.count; ++i) {
        reclaimed_[{run.claimed.incarnation, run.claimed.counter + i}] = lease + i;
      }
    }
  }

  void name(const v1::Claim& wanted, bool settled) {
    for (std::uint32_t done = 0; done < wanted.count();) {
      const LeaseId id{wanted.incarnation(), wanted.lease() + done};
      if (id.incarnation == state_.incarnation) {
        done += keep(wanted, done, id.counter, settled);
      } else if (const auto at = reclaimed_.find(id); at != reclaimed_.end()) {
        // Claimed before, in a session whose WELCOME was lost on the way.
        done += keep(wanted, done, at->second, settled);
      } else {
        v1::Claim one = wanted;
        one.set_first(wanted.first() + done);
        one.set_lease(id.counter);
        if (wanted.origin_incarnation() != 0) one.set_origin_lease(wanted.origin_lease() + done);
        one.set_count(run_of_unclaimed(wanted, done));
        claim(state_, now_, worker_, one, settled, welcome_, actions_);
        done += one.count();
      }
    }
  }

  /// What was on its way and was lost with the connection was never seen: ready at once, not counted.
  void return_unnamed() {
    for (auto at = worker_.leases.begin(); at != worker_.leases.end() && at->first < granted_from_;) {
      LeaseRun& run = at->second;
      const Bits named = named_[at->first];
      LeaseRun rest;
      rest.key = run.key;
      rest.first = run.first;
      rest.count = run.count;
      rest.attempt = run.attempt;
      rest.source = run.source;
      for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
        if (named.test(i)) continue;
        rest.open.set(i);
        run.open.clear(i);
      }
      if (rest.open.next_set(0) < rest.count) {
        rest.record = std::move(run.record);
        if (Queue* queue = state_.find_queue(run.key.queue)) give_back(state_, *queue, rest);
      }
      at = run.open.next_set(0) >= run.count ? worker_.leases.erase(at) : std::next(at);
    }
  }

 private:
  /// How many from `done` on were not claimed before, so that they are one claim.
  std::uint32_t run_of_unclaimed(const v1::Claim& wanted, std::uint32_t done) const {
    std::uint32_t n = 1;
    while (done + n < wanted.count() && n < protocol::segment_messages_most &&
           !reclaimed_.contains({wanted.incarnation(), wanted.lease() + done + n})) {
      ++n;
    }
    return n;
  }

  /// Keeps what is open from `lease` on; returns how many messages it has answered for.
  std::uint32_t keep(const v1::Claim& wanted, std::uint32_t done, std::uint64_t lease, bool settled) {
    const auto after = worker_.leases.upper_bound(lease);
    if (after != worker_.leases.begin()) {
      const auto at = std::prev(after);
      LeaseRun& run = at->second;
      const auto offset = static_cast<std::uint32_t>(lease - at->first);
      if (lease - at->first < run.count && run.open.test(offset) && run.key.queue == wanted.queue() &&
          run.key.segment == wanted.segment() && run.first + offset == wanted.first() + done) {
        const std::uint32_t n =
            std::min({run.open.next_clear(offset), run.count, offset + wanted.count() - done}) - offset;
        named_[at->first].set(offset, offset + n);
        if (!settled) run.settled_by_worker = false;
        answer(welcome_, wanted, done, n)->set_lease(lease);
        return n;
      }
    }
    // A settlement that was applied already, and perhaps not committed: sent again it is answered once it is.
    if (settled) {
      answer(welcome_, wanted, done, 1)->set_lease(lease);
    } else {
      answer(welcome_, wanted, done, 1)->set_stale(true);
    }
    return 1;
  }

  State& state_;
  Now now_;
  Worker& worker_;
  v1::Welcome& welcome_;
  Actions& actions_;
  std::uint64_t granted_from_;                  ///< leases from here on were granted by this HELLO's claims
  std::map<LeaseId, std::uint64_t> reclaimed_;  ///< by the lease claimed: the lease granted for it
  std::map<std::uint64_t, Bits> named_;         ///< by run: what is still theirs
};

/// What the hello names stays the worker's, the rest of what it had returns.
void keep_named(State& state, Now now, Worker& worker, const v1::Hello& hello, v1::Welcome& welcome, Actions& actions) {
  Naming naming(state, now, worker, welcome, actions);
  for (const auto& wanted : hello.held()) naming.name(wanted, false);
  for (const auto& wanted : hello.settled()) naming.name(wanted, true);
  naming.return_unnamed();
}

/// What the worker holds, derived from its leases: nothing that a lost frame could leak.
void derive_outstanding(State& state, Worker& worker) {
  worker.outstanding = {};
  for (auto& one : worker.attached) one.outstanding = {};
  for (auto& [first, run] : worker.leases) {
    if (run.settled_by_worker) continue;
    Load held{Messages{run.open.count()}, Bytes{}};
    if (run.source == Source::record) {
      held.bytes = run.record->bytes;
    } else if (Queue* queue = state.find_queue(run.key.queue)) {
      Segment& segment = queue->lanes[run.key.lane].segments.at(run.key.segment);
      load(state, run.key, segment);
      for (std::uint32_t i = run.open.next_set(0); i < run.count; i = run.open.next_set(i + 1)) {
        held.bytes += Bytes{segment.bytes_of(run.first + i, run.first + i + 1)};
      }
    }
    worker.outstanding += held;
    if (Attached* one = worker.attachment(state.find_queue(run.key.queue))) one->outstanding += held.messages;
  }
}

void fill_welcome(State& state, v1::Welcome& welcome) {
  welcome.set_version(protocol::version_highest);
  welcome.set_incarnation(state.incarnation);
  welcome.set_build(state.config.build);
  welcome.set_session_timeout_us(static_cast<std::uint64_t>(state.config.session_timeout.count()));
  welcome.set_message_most_bytes(state.config.message_most.value);
  for (const auto& [id, queue] : state.queues) {
    auto* info = welcome.add_queues();
    info->set_id(id);
    info->set_name(queue->name);
    info->set_in_file(queue->in_file);
  }
}

void hello_worker(State& state, Now now, Client& client, const v1::Hello& hello, Actions& actions) {
  const auto token = ProcessToken::from(hello.process_token());
  if (!token) {
    refuse(state, client.connection, v1::Error::MALFORMED, "HELLO of a worker: process_token must be 16 bytes", true,
           actions);
    return;
  }
  if (hello.window().messages() == 0 && hello.attach_size() == 0) {
    refuse(state, client.connection, v1::Error::MALFORMED, "HELLO of a worker: it attaches to no queue", true, actions);
    return;
  }
  Process& process = state.processes[*token];
  process.last_seen = now.instant;
  auto& slot = process.workers[hello.shard()];
  const bool is_new = slot == nullptr;
  if (is_new) {
    slot = std::make_unique<Worker>();
    slot->token = *token;
    slot->shard = hello.shard();
    slot->last_sent = now.instant;
  }
  Worker& worker = *slot;
  const Connection old = worker.connection;
  worker.connection = 0;
  replace(state, old, actions);
  if (!attach(state, client, worker, hello, actions)) {
    if (is_new) {
      process.workers.erase(hello.shard());
      if (process.workers.empty()) state.processes.erase(*token);
    }
    return;
  }
  worker.group = hello.group();
  worker.host = hello.host();
  worker.pid = hello.pid();
  worker.build = hello.build();
  worker.window_epoch = hello.window().epoch();
  worker.window = {Messages{hello.window().messages()}, Bytes{hello.window().bytes()}};
  client.worker = &worker;
  worker.connection = client.connection;
  client.welcomed = true;

  v1::Frame frame;
  v1::Welcome& welcome = *frame.mutable_welcome();
  fill_welcome(state, welcome);
  keep_named(state, now, worker, hello, welcome, actions);
  derive_outstanding(state, worker);
  send(state, client.connection, std::move(frame), actions);
  if (is_new) {
    // Before its first delivery: a restart must know whom to wait for.
    v1::SessionNote session;
    session.set_group(worker.group);
    session.set_host(worker.host);
    session.set_pid(worker.pid);
    state.gathering.writes.emplace_back(NoteSession{*token, worker.shard, std::move(session)});
    state.gathering.noted.emplace_back(*token, worker.shard);
  }
  note(actions, Note::Level::info, is_new ? "worker_attached" : "worker_back",
       {{"worker", print_worker(worker)}, {"held", std::to_string(worker.outstanding.messages.value)}});
  if (worker.recovering) one_recovered(state, now, worker, actions);
  dispatch_for(state, now, worker, actions);
}

void hello_publisher(State& state, Client& client, const v1::Hello& hello, Actions& actions) {
  const auto id = PublisherId::from(hello.publisher());
  if (!id) {
    refuse(state, client.connection, v1::Error::MALFORMED, "HELLO of a publisher: publisher must be 16 bytes", true,
           actions);
    return;
  }
  const auto [at, is_new] = state.publishers.try_emplace(*id);
  Publisher& publisher = at->second;
  publisher.id = *id;
  const Connection old = publisher.connection;
  publisher.connection = 0;
  replace(state, old, actions);
  publisher.connection = client.connection;
  client.publisher = &publisher;
  client.welcomed = true;

  v1::Frame frame;
  v1::Welcome& welcome = *frame.mutable_welcome();
  fill_welcome(state, welcome);
  welcome.set_publisher_known(!is_new || hello.lowest_unanswered() <= 1);
  if (is_new && hello.lowest_unanswered() > 1) {
    // Its mark is gone, and with it what it had published: it goes on above.
    publisher.taken = publisher.committed = hello.lowest_unanswered() - 1;
    publisher.mark.set_mark(publisher.taken);
  }
  welcome.set_publisher_mark(publisher.committed);
  for (const auto& name : hello.publish_to()) {
    const auto queue = state.queues_by_name.find(name);
    if (queue == state.queues_by_name.end() || !queue->second->in_file) continue;
    open_window(state, *queue->second, publisher);
    for (auto& info : *welcome.mutable_queues()) {
      if (info.id() == queue->second->id) fill_window(*queue->second, *id, *info.mutable_window());
    }
  }
  send(state, client.connection, std::move(frame), actions);
}

void on_hello(State& state, Now now, Client& client, const v1::Hello& part, Actions& actions) {
  if (client.welcomed) {
    refuse(state, client.connection, v1::Error::OUT_OF_SEQUENCE, "a second HELLO in one session", true, actions);
    return;
  }
  if (part.magic() != protocol::magic) {
    refuse(state, client.connection, v1::Error::MALFORMED, "HELLO: wrong magic; this is a Weir broker", true, actions);
    return;
  }
  if (part.version_lowest() > protocol::version_highest || part.version_highest() < protocol::version_lowest) {
    const auto range = [](std::uint32_t low, std::uint32_t high) {
      return std::to_string(low) + " to " + std::to_string(high);
    };
    refuse(state, client.connection, v1::Error::WRONG_VERSION,
           "no protocol version in common: you speak " + range(part.version_lowest(), part.version_highest()) +
               ", this broker " + range(protocol::version_lowest, protocol::version_highest),
           true, actions);
    return;
  }
  if (!client.hello) {
    client.hello = part;
  } else {
    client.hello->mutable_held()->MergeFrom(part.held());
    client.hello->mutable_settled()->MergeFrom(part.settled());
  }
  if (part.more()) return;
  const v1::Hello hello = std::move(*client.hello);
  client.hello.reset();
  client.kind = hello.kind();
  switch (hello.kind()) {
    case v1::WORKER:
      hello_worker(state, now, client, hello, actions);
      return;
    case v1::PUBLISHER:
      hello_publisher(state, client, hello, actions);
      return;
    case v1::CONTROL:
    case v1::KEEP_ALIVE: {
      client.welcomed = true;
      v1::Frame frame;
      fill_welcome(state, *frame.mutable_welcome());
      send(state, client.connection, std::move(frame), actions);
      return;
    }
    default:
      refuse(state, client.connection, v1::Error::MALFORMED,
             "HELLO: kind must be WORKER, PUBLISHER, CONTROL or KEEP_ALIVE", true, actions);
  }
}

void on_keep_alive(State& state, Now now, const Client& client, const v1::KeepAlive& alive, Actions& actions) {
  const auto token = ProcessToken::from(alive.process_token());
  const auto process = token ? state.processes.find(*token) : state.processes.end();
  if (process == state.processes.end()) {
    refuse(state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "keep-alive: no session of this broker bears this process token", false, actions);
    return;
  }
  process->second.last_seen = now.instant;
  for (const auto& shard : alive.shards()) process->second.shards[shard.shard()] = shard;
}

void on_death(State& state, const Client& client, const v1::DeathReport& death, Actions& actions) {
  const auto token = ProcessToken::from(death.process_token());
  const auto process = token ? state.processes.find(*token) : state.processes.end();
  if (process == state.processes.end()) {
    refuse(state, client.connection, v1::Error::UNKNOWN_TOKEN,
           "death report: no session of this broker bears this process token", false, actions);
    return;
  }
  const std::string why = death.signal() != 0 ? "its process was ended by signal " + std::to_string(death.signal())
                                              : "its process exited with " + std::to_string(death.exit_code());
  while (!process->second.workers.empty()) {
    end_worker(state, process->second, *process->second.workers.begin()->second, why, actions);
  }
  state.processes.erase(process);
  state.gathering.buried.push_back(client.connection);
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
  actions.emplace_back(Close{connection});
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
  client.worker->window = {Messages{window.messages()}, Bytes{window.bytes()}};
  dispatch_for(state, now, *client.worker, actions);
}

void on_interest(State& state, Client& client, const v1::Interest& interest, Actions& actions) {
  for (const auto& name : interest.publish_to()) {
    const auto at = state.queues_by_name.find(name);
    if (at == state.queues_by_name.end()) {
      refuse(state, client.connection, v1::Error::UNKNOWN_QUEUE, "unknown queue '" + name + "'", false, actions);
      continue;
    }
    open_window(state, *at->second, *client.publisher);
    v1::Frame frame;
    fill_window(*at->second, client.publisher->id, *frame.mutable_window());
    send(state, client.connection, std::move(frame), actions);
  }
}

}  // namespace

void send(State& state, Connection to, v1::Frame frame, Actions& actions) {
  Client* client = state.find_client(to);
  if (client == nullptr) return;
  frame.set_number(++client->frames_out);
  actions.emplace_back(Send{to, std::move(frame)});
}

void note(Actions& actions, Note::Level level, std::string event,
          std::vector<std::pair<std::string, std::string>> fields) {
  actions.emplace_back(Note{level, std::move(event), std::move(fields)});
}

void refuse(State& state, Connection to, v1::Error::Code code, std::string message, bool fatal, Actions& actions) {
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
  actions.emplace_back(Close{to});
}

void on_frame(State& state, Now now, Connection from, const v1::Frame& head, const Slice& run, Actions& actions) {
  Client* client = state.find_client(from);
  if (client == nullptr) {
    if (!head.has_hello()) {
      refuse(state, from, v1::Error::OUT_OF_SEQUENCE,
             "a frame before HELLO; say HELLO first (the session may have ended)", true, actions);
      return;
    }
    client = (state.clients[from] = std::make_unique<Client>()).get();
    client->connection = from;
  }
  if (head.number() != client->frames_in + 1) {
    refuse(state, from, v1::Error::OUT_OF_SEQUENCE,
           "frame " + std::to_string(head.number()) + " came after frame " + std::to_string(client->frames_in) +
               "; frames count from 1 without a gap",
           true, actions);
    return;
  }
  ++client->frames_in;
  if (!client->welcomed && !head.has_hello()) {
    refuse(state, from, v1::Error::OUT_OF_SEQUENCE, "a frame before HELLO was complete", true, actions);
    return;
  }
  if (client->worker != nullptr) {
    if (const auto process = state.processes.find(client->worker->token); process != state.processes.end()) {
      process->second.last_seen = now.instant;
    }
  }
  const auto needs = [&](bool ok, const char* what) {
    if (!ok)
      refuse(state, from, v1::Error::NOT_ALLOWED, std::string(what) + " is not for this kind of session", true,
             actions);
    return ok;
  };
  switch (head.body_case()) {
    case v1::Frame::kHello:
      return on_hello(state, now, *client, head.hello(), actions);
    case v1::Frame::kPublish:
      if (needs(client->publisher != nullptr, "PUBLISH")) on_publish(state, now, *client, head.publish(), run, actions);
      return;
    case v1::Frame::kSettle:
      if (needs(client->worker != nullptr, "SETTLE")) {
        on_settle(state, now, *client, head.number(), head.settle(), run, actions);
      }
      return;
    case v1::Frame::kWindow:
      return on_window(state, now, *client, head.window(), actions);
    case v1::Frame::kKeepAlive:
      return on_keep_alive(state, now, *client, head.keep_alive(), actions);
    case v1::Frame::kDeath:
      return on_death(state, *client, head.death(), actions);
    case v1::Frame::kInterest:
      if (needs(client->publisher != nullptr, "INTEREST")) on_interest(state, *client, head.interest(), actions);
      return;
    case v1::Frame::kGoodbye:
      return on_goodbye(state, now, *client, actions);
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

void on_disconnected(State& state, Now now, Connection from, Actions&) {
  Client* client = state.find_client(from);
  if (client == nullptr) return;
  if (client->worker != nullptr && client->worker->connection == from) client->worker->connection = 0;
  if (client->publisher != nullptr && client->publisher->connection == from) {
    client->publisher->connection = 0;
    client->publisher->ended_at = now.instant;
    // Its share of a bounded queue goes back; what it had sent is answered when it returns.
    for (const auto id : client->publisher->queues) {
      if (Queue* queue = state.find_queue(id)) queue->windows.erase(client->publisher->id);
    }
    client->publisher->queues.clear();
  }
  state.clients.erase(from);
}

void end_worker(State& state, Process& process, Worker& worker, const std::string& why, Actions& actions) {
  note(actions, why == "goodbye" ? Note::Level::info : Note::Level::warning, "session_ended",
       {{"worker", print_worker(worker)}, {"why", why}, {"held", std::to_string(worker.outstanding.messages.value)}});
  if (worker.connection != 0) {
    if (Client* client = state.find_client(worker.connection)) client->worker = nullptr;
    if (why != "goodbye") {
      refuse(state, worker.connection, v1::Error::REPLACED, "this session has ended: " + why, true, actions);
    }
  }
  for (auto& [id, queue] : state.queues) std::erase(queue->attached, &worker);
  // Its end is committed before its messages go to another.
  for (auto& [lease, run] : worker.leases) state.gathering.returning.push_back(std::move(run));
  state.gathering.writes.emplace_back(ForgetSession{worker.token, worker.shard});
  if (worker.recovering) --state.recovering;
  const std::uint32_t shard = worker.shard;
  process.workers.erase(shard);
}

void sessions_tick(State& state, Now now, Actions& actions) {
  const Duration timeout = state.config.session_timeout;
  // The broker itself was away: nobody's keep-alive could be read. Everyone gets a fresh session.
  if (now.instant - state.last_turn > timeout / 4) {
    for (auto& [token, process] : state.processes) process.last_seen = now.instant;
  }
  for (auto at = state.processes.begin(); at != state.processes.end();) {
    Process& process = at->second;
    if (now.instant - process.last_seen > timeout) {
      while (!process.workers.empty()) {
        end_worker(state, process, *process.workers.begin()->second,
                   "no keep-alive for " + std::to_string((now.instant - process.last_seen).count() / 1000) + " ms",
                   actions);
      }
      at = state.processes.erase(at);
    } else {
      ++at;
    }
  }
  if (now.instant >= state.next_beat) {
    state.next_beat = now.instant + timeout / 4;
    std::vector<Connection> all;
    all.reserve(state.clients.size());
    for (const auto& [connection, client] : state.clients) {
      if (client->welcomed) all.push_back(connection);
    }
    for (const auto connection : all) {
      v1::Frame frame;
      frame.mutable_beat();
      send(state, connection, std::move(frame), actions);
    }
  }
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

}  // namespace weir::broker::core
