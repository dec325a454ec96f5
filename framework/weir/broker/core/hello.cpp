// HELLO and WELCOME: a client becomes a worker, a publisher, or one that only asks.
#include <algorithm>
#include <set>
#include <utility>

#include "weir/broker/core/state.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker::core {
namespace {

/// The most bytes of a part of a HELLO, and the most messages that all its parts may name. A worker holds at most
/// 65,536 messages, and has as many settlements without an answer; no honest client names twice that. Each message that
/// is named may cost an answer.
constexpr std::size_t hello_part_most = 64 * 1024;
constexpr std::uint64_t hello_named_most = 262'144;
/// The most queues and types that all parts attach: they are looked up in one go.
constexpr std::uint64_t hello_attached_most = 32'768;
/// The most bytes of all HELLOs that are not complete.
constexpr std::size_t hello_bytes_most = 64 * 1024 * 1024;

/// An older connection of the same worker or publisher gives way.
void replace(State& state, Connection old, Actions& actions) {
  if (state.find_client(old) == nullptr) return;
  refuse(state, old, v1::Error::REPLACED, "a newer session of the same worker or publisher took over", true, actions);
}

bool attach(State& state, Client& client, Worker& worker, const v1::Hello& hello, Actions& actions) {
  std::vector<Attached> attached;
  QueueSet seen;
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
    if (!seen.insert(at->second).second) {
      refuse(state, client.connection, v1::Error::MALFORMED,
             "HELLO of a worker: it attaches to queue '" + wanted.queue() + "' twice; name its types in one place",
             true, actions);
      return false;
    }
    Attached one;
    one.queue = at->second;
    one.types = {wanted.types().begin(), wanted.types().end()};
    if (const Attached* before = worker.attachment(at->second)) one.outstanding = before->outstanding;
    attached.push_back(std::move(one));
  }
  std::sort(attached.begin(), attached.end(),
            [](const Attached& a, const Attached& b) { return a.queue->id < b.queue->id; });
  for (auto& one : worker.attached) std::erase(one.queue->attached, &worker);
  worker.attached = std::move(attached);
  for (auto& one : worker.attached) {
    one.queue->attached.push_back(&worker);
    // The queue's clocks run only for types that no attached worker knows.
    if (one.types.empty()) one.queue->unknown_since.clear();
    for (const auto& type : one.types) one.queue->unknown_since.erase(type);
  }
  forget_unknown_types(state);
  return true;
}

void fill_welcome(State& state, v1::Welcome& welcome) {
  welcome.set_version(protocol::version_highest);
  welcome.set_store(std::string(state.store_id.view()));
  if (!state.starts.empty()) welcome.set_start(std::string(state.starts.back().id.view()));
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

NoteSession note_of(const Worker& worker) {
  v1::SessionNote session;
  session.set_group(worker.group);
  session.set_host(worker.host);
  session.set_pid(worker.pid);
  session.set_of_two_stores(worker.process->of_two_stores);
  return {worker.token, worker.shard, std::move(session)};
}

void hello_worker(Turn& turn, Client& client, Named named) {
  const v1::Hello& hello = named.first;
  const auto token = ProcessToken::from(hello.process_token());
  if (!token) {
    refuse(turn, client.connection, v1::Error::MALFORMED, "HELLO of a worker: process_token must be 16 bytes");
    return;
  }
  if (hello.attach_size() == 0) {
    refuse(turn, client.connection, v1::Error::MALFORMED, "HELLO of a worker: it attaches to no queue");
    return;
  }
  on_found(turn, *token);
  const auto [at, is_first] = turn.state.processes.try_emplace(*token);
  Process& process = at->second;
  if (is_first) process.since = turn.now.instant;
  process.last_seen = turn.now.instant;
  auto& slot = process.workers[hello.shard()];
  const bool is_new = slot == nullptr;
  if (is_new) {
    slot = std::make_unique<Worker>();
    slot->process = &process;
    slot->token = *token;
    slot->shard = hello.shard();
    slot->last_sent = turn.now.instant;
    number_worker(turn.state, *slot);
  }
  Worker& worker = *slot;
  // RULE: older_hello_replaces_no_newer_one
  if (hello.window().epoch() < worker.window_epoch) {
    // It is read late, after a broker's pause. Taken for the newest it would give back what its worker holds since.
    refuse(turn, client.connection, v1::Error::REPLACED, "a newer session of this worker has said HELLO already");
    return;
  }
  forget_unread(turn.state, worker);
  replace(turn.state, std::exchange(worker.connection, 0), turn.actions);
  replace(turn.state, std::exchange(worker.naming, 0), turn.actions);
  if (!attach(turn.state, client, worker, hello, turn.actions)) {
    if (is_new) {
      turn.state.workers_by_number.erase(worker.number);
      process.workers.erase(hello.shard());
      if (process.workers.empty()) turn.state.processes.erase(*token);
    }
    return;
  }
  worker.group = hello.group();
  worker.host = hello.host();
  worker.pid = hello.pid();
  worker.failed.reset();
  worker.build = hello.build();
  worker.window_epoch = hello.window().epoch();
  worker.window = cut_window(turn.state, worker, hello.window(), turn.actions);
  named.speaks_of = speaks_of(turn.state, hello, client.named > 0);
  tell_of_store(turn.state, hello, named.speaks_of, print_worker(worker), worker.told_of_store, turn.actions);
  if (named.speaks_of != SpeaksOf::this_store && !std::exchange(process.of_two_stores, true) && worker.noted) {
    turn.state.gathering.writes.emplace_back(note_of(worker));  // the next broker must know it
  }
  name_leases(turn, client, worker, std::move(named));
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
  const std::uint64_t answered = std::max<std::uint64_t>(hello.lowest_unanswered(), 1) - 1;
  const SpeaksOf what = speaks_of(state, hello, false);
  tell_of_store(state, hello, what, "publisher " + hello.host() + "/" + std::to_string(hello.pid()),
                publisher.told_of_store, actions);
  welcome.set_store_is_older(what == SpeaksOf::later_store);
  const bool in_doubt = what != SpeaksOf::this_store || (is_new && answered > 0);
  if (in_doubt) {
    // Its mark is gone, or is another store's, and so is what it had published: it goes on with higher numbers. Each
    // WELCOME tells it so until it publishes: a connection may be cut before it has read the first. (A publisher that
    // speaks of another store has not read it.)
    // RULE: forgotten_publisher_is_told
    publisher.in_doubt = hello.store() == state.store_id.view();
    publisher.taken = std::max(publisher.taken, answered);
    publisher.committed = std::max(publisher.committed, answered);
    publisher.mark.set_mark(publisher.taken);
    // The next broker must know it; otherwise what it publishes from now on would be in doubt too.
    publisher.dirty = true;
    state.gathering.publishers.insert(*id);
  }
  if (answered > publisher.taken) publisher.in_doubt = false;  // it has heard that, and given those up
  welcome.set_publisher_known(!in_doubt && !publisher.in_doubt);
  welcome.set_publisher_mark(publisher.committed);
  QueueSet named;
  for (const auto& name : hello.publish_to()) {
    const auto queue = state.queues_by_name.find(name);
    if (queue != state.queues_by_name.end() && queue->second->in_file) named.insert(queue->second);
  }
  for (Queue* queue : named) open_window(state, *queue, publisher);
  for (auto& info : *welcome.mutable_queues()) {
    Queue* queue = state.find_queue(info.id());
    if (named.contains(queue)) fill_window(*queue, *id, *info.mutable_window());
  }
  send(state, client.connection, std::move(frame), actions);
}

/// Counts what the part attaches, and keeps it if it is not the first part. False: too much, and the session has ended.
bool take_attachments(State& state, Client& client, const v1::Hello& part, Actions& actions) {
  for (const auto& one : part.attach()) client.attach_names += 1 + static_cast<std::uint64_t>(one.types_size());
  if (client.attach_names > hello_attached_most) {
    refuse(state, client.connection, v1::Error::TOO_LARGE,
           "HELLO: it attaches to " + std::to_string(client.attach_names) + " queues and types together; at most " +
               std::to_string(hello_attached_most) + ": spread the queues over several groups",
           true, actions);
    return false;
  }
  if (!client.hello_parts.empty()) {
    client.attach_more.insert(client.attach_more.end(), part.attach().begin(), part.attach().end());
  }
  return true;
}

/// Adds what further parts attach. A queue that an earlier part names stays as it is there.
void add_attachments(v1::Hello& hello, std::vector<v1::Attach> more) {
  std::set<std::string> named;
  for (const auto& one : hello.attach()) named.insert(one.queue());
  for (v1::Attach& one : more) {
    if (named.insert(one.queue()).second) *hello.add_attach() = std::move(one);
  }
}

/// Keeps a part that others follow, or that follows one. False: it is too much, and the session has ended.
bool keep_part(Turn& turn, Client& client, const v1::Hello& part) {
  if (client.hello_parts.empty()) client.hello_since = turn.now.instant;
  std::string bytes = part.SerializeAsString();
  if (turn.state.hello_bytes + bytes.size() > hello_bytes_most) {
    refuse(turn, client.connection, v1::Error::TOO_MUCH,
           "HELLO: those that are not complete have " + std::to_string(turn.state.hello_bytes) +
               " bytes already, of all sessions together; say it again after a pause");
    return false;
  }
  turn.state.hello_bytes += bytes.size();
  client.hello_bytes += bytes.size();
  client.hello_parts.push_back(std::move(bytes));
  return true;
}

/// Checks a part. False: this broker does not take it, or it names too much, and the session has ended.
bool take_part(Turn& turn, Client& client, const v1::Hello& part) {
  if (client.welcomed) {
    refuse(turn, client.connection, v1::Error::OUT_OF_SEQUENCE, "a second HELLO in one session");
    return false;
  }
  if (part.magic() != protocol::magic) {
    refuse(turn, client.connection, v1::Error::MALFORMED, "HELLO: wrong magic; this is a Weir broker");
    return false;
  }
  if (part.version_lowest() > protocol::version_highest || part.version_highest() < protocol::version_lowest) {
    const auto range = [](std::uint32_t low, std::uint32_t high) {
      return std::to_string(low) + " to " + std::to_string(high);
    };
    refuse(turn, client.connection, v1::Error::WRONG_VERSION,
           "no protocol version in common: you speak " + range(part.version_lowest(), part.version_highest()) +
               ", this broker " + range(protocol::version_lowest, protocol::version_highest));
    return false;
  }
  if (const std::size_t bytes = part.ByteSizeLong(); bytes > hello_part_most) {
    refuse(turn, client.connection, v1::Error::TOO_LARGE,
           "HELLO: a part of " + std::to_string(bytes) + " bytes; at most " + std::to_string(hello_part_most) +
               "; the rest may follow in further parts (`more`)");
    return false;
  }
  for (const auto* claims : {&part.held(), &part.settled()}) {
    for (const auto& one : *claims) {
      client.named += std::max(one.count(), 1U);
    }
  }
  if (client.named > hello_named_most) {
    refuse(turn, client.connection, v1::Error::MALFORMED,
           "HELLO: it names " + std::to_string(client.named) + " messages as held or settled; at most " +
               std::to_string(hello_named_most));
    return false;
  }
  return true;
}

}  // namespace

void welcome_worker(Turn& turn, Client& client, Worker& worker, v1::Frame frame) {
  client.worker = &worker;
  worker.connection = client.connection;
  client.welcomed = true;
  count_sharers(turn.state, worker);
  for (auto& one : worker.attached) {
    one.borrowed = one.outstanding.value > share_of(worker) ? one.outstanding : Messages{};
    worker.borrowed += one.borrowed;
  }
  v1::Welcome& welcome = *frame.mutable_welcome();
  fill_welcome(turn.state, welcome);
  welcome.mutable_window()->set_epoch(worker.window_epoch);
  welcome.mutable_window()->set_messages(worker.window.messages.value);
  welcome.mutable_window()->set_bytes(worker.window.bytes.value);
  send(turn.state, client.connection, std::move(frame), turn.actions);
  const bool is_new = !worker.noted && !std::exchange(worker.noting, true);
  if (is_new) {
    // It is noted before its first delivery: a restart must know which sessions to wait for.
    turn.state.gathering.writes.emplace_back(note_of(worker));
    turn.state.gathering.noted.emplace_back(worker.token, worker.shard);
  }
  note(turn.actions, Note::Level::info, is_new ? "worker_attached" : "worker_back",
       {{"worker", print_worker(worker)}, {"held", std::to_string(worker.outstanding.messages.value)}});
  if (!turn.state.plugins.empty())
    turn.state.next_control = turn.now.instant;  // it may be the process that a control waits for
  if (worker.recovering) one_recovered(turn, worker);
  dispatch_for(turn, worker);
}

Load cut_window(const State& state, const Worker& worker, const v1::Window& wanted, Actions& actions) {
  const Load said{Messages{wanted.messages()}, Bytes{wanted.bytes()}};
  const Load& most = state.config.window_most;
  const Load cut{std::min(said.messages, most.messages), std::min(said.bytes, most.bytes)};
  if (cut != said) {
    note(actions, Note::Level::warning, "window_cut",
         {{"worker", print_worker(worker)},
          {"wanted", std::to_string(said.messages.value) + " messages, " + std::to_string(said.bytes.value) + " bytes"},
          {"given", std::to_string(cut.messages.value) + " messages, " + std::to_string(cut.bytes.value) + " bytes"},
          {"why", "broker.window_most"}});
  }
  return cut;
}

void on_hello(Turn& turn, Client& client, const v1::Hello& part) {
  if (!take_part(turn, client, part)) return;
  if (!take_attachments(turn.state, client, part, turn.actions)) return;
  if (part.more() || !client.hello_parts.empty()) {
    if (!keep_part(turn, client, part) || part.more()) return;
  }
  std::vector<std::string> parts = std::exchange(client.hello_parts, {});
  turn.state.hello_bytes -= std::exchange(client.hello_bytes, 0);
  v1::Hello hello;
  if (parts.empty()) {
    hello = part;
  } else {
    hello.ParseFromString(parts.front());
    parts.erase(parts.begin());
    add_attachments(hello, std::exchange(client.attach_more, {}));
  }
  client.kind = hello.kind();
  switch (hello.kind()) {
    case v1::WORKER:
      hello_worker(turn, client, {std::move(hello), std::move(parts)});
      return;
    case v1::PUBLISHER:
      hello_publisher(turn.state, client, hello, turn.actions);
      return;
    case v1::CONTROL:
    case v1::KEEP_ALIVE: {
      client.welcomed = true;
      if (const auto token = ProcessToken::from(hello.process_token())) vouch(turn.state, turn.now, *token);
      v1::Frame frame;
      fill_welcome(turn.state, *frame.mutable_welcome());
      send(turn.state, client.connection, std::move(frame), turn.actions);
      return;
    }
    default:
      refuse(turn, client.connection, v1::Error::MALFORMED,
             "HELLO: kind must be WORKER, PUBLISHER, CONTROL or KEEP_ALIVE");
  }
}

void hellos_tick(Turn& turn) {
  std::vector<Connection> late;
  for (const auto& [connection, client] : turn.state.clients) {
    if (!client->hello_parts.empty() && turn.now.instant - client->hello_since > turn.state.config.session_timeout)
      late.push_back(connection);
  }
  for (const Connection connection : late) {
    refuse(turn, connection, v1::Error::OUT_OF_SEQUENCE,
           "HELLO was not complete within " + std::to_string(turn.state.config.session_timeout.count() / 1000) +
               " ms of its first part; its last part has `more: false`");
  }
}

}  // namespace weir::broker::core
