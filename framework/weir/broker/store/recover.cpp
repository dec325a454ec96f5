// Reads what a start needs, from heads and keys; no payload is touched. Damaged values are left out, and named.
#include "weir/broker/store/recover.hpp"

#include <algorithm>
#include <map>

#include "weir/broker/core/bits.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_store.hpp"
#include "weir/broker/store/values.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker {
namespace {

/// Only a damaged key has such a number: numbers of queues are given one by one.
constexpr QueueId queues_most = 1 << 24;

class Reading {
 public:
  Reading(MDB_txn* txn, const Databases& databases, core::Recovered& out)
      : txn_(txn), databases_(databases), out_(out) {}

  void all();

 private:
  void queues();
  void heads();
  void due();
  void dead();
  void sessions();
  void publishers();
  /// Calls `each` with key and value of values that are as they were written, and `damaged` with the keys of the rest.
  template <class Each, class Damaged>
  void walk(MDB_dbi database, Each each, Damaged damaged) {
    for (lmdb::Cursor at(txn_, database); at.next();) {
      if (const auto value = sums::open(at.key(), at.data())) {
        each(at.key(), *value);
      } else {
        damaged(at.key());
      }
    }
  }
  /// The queue's entry. nullptr if the queue's own state is damaged: then unknown_ counts `messages` as the queue's.
  core::Recovered::Queue* queue(QueueId id, Messages messages);
  void set_aside(const char* what, std::string_view key, Messages messages);

  MDB_txn* txn_;
  const Databases& databases_;
  core::Recovered& out_;
  std::map<QueueId, std::size_t> at_;
  std::map<QueueId, Messages> unknown_;
};

template <class Message>
void parse(std::string_view bytes, const char* what, Message& message) {
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  throw StoreError(std::string("the store is damaged: ") + what +
                   " does not parse; restore the data folder from a backup");
}

core::Recovered::Queue* Reading::queue(QueueId id, Messages messages) {
  if (id < queues_most) out_.highest_queue = std::max(out_.highest_queue, id);
  if (const auto found = at_.find(id); found != at_.end()) return &out_.queues[found->second];
  unknown_[id] += messages;
  return nullptr;
}

void Reading::set_aside(const char* what, std::string_view key, Messages messages) {
  core::Recovered::Damaged damaged;
  damaged.what = what + (key.empty() ? std::string() : " under key " + layout::hex(key));
  damaged.messages = messages;
  if (key.size() >= sizeof(QueueId)) {  // of a queue, if its key is right
    const auto found = at_.find(layout::read_queue(key.substr(0, sizeof(QueueId))));
    if (found != at_.end()) {
      damaged.queue = found->first;
      out_.queues[found->second].damaged += messages;
    }
  }
  out_.damaged.push_back(std::move(damaged));
}

void Reading::queues() {
  walk(
      databases_.queues,
      [this](std::string_view key, std::string_view value) {
        auto& one = out_.queues.emplace_back();
        one.id = layout::read_queue(key);
        parse(value, "a queue's state", one.state);
        at_[one.id] = out_.queues.size() - 1;
        out_.highest_queue = std::max(out_.highest_queue, one.id);
      },
      [this](std::string_view key) {
        // A new queue must not get its number, and so its places.
        if (key.size() == sizeof(QueueId)) queue(layout::read_queue(key), {});
        set_aside("a queue's state", key, {});
      });
}

void Reading::heads() {
  walk(
      databases_.heads,
      [this](std::string_view bytes, std::string_view value) {
        const core::SegmentKey key = layout::read_segment_key(bytes);
        core::Recovered::SegmentEntry segment;
        segment.lane = key.lane;
        segment.number = key.segment;
        parse(value, "a segment's head", segment.head);
        if (segment.head.count() == 0 || segment.head.count() > protocol::segment_messages_most) {
          throw StoreError("the store is damaged: segment " + std::to_string(key.segment) + " of queue number " +
                           std::to_string(key.queue) + " has " + std::to_string(segment.head.count()) +
                           " messages by its head, not 1 to 256; restore the data folder from a backup");
        }
        const auto left = segment.head.count() - core::Bits::from(segment.head.settled()).count();
        if (auto* its = queue(key.queue, Messages{left})) its->segments.push_back(std::move(segment));
      },
      [this](std::string_view key) {
        // The head says which messages are settled. Without it none of them is delivered again.
        const auto columns = values::get_head(txn_, databases_.segments, key);
        v1::Index index;
        std::int64_t published_at_us = 0;
        const bool known = columns && protocol::decode(*columns, index, published_at_us).has_value();
        set_aside("a segment's head", key, Messages{known ? static_cast<std::uint64_t>(index.lengths_size()) : 0});
      });
}

void Reading::due() {
  walk(
      databases_.due,
      [this](std::string_view key, std::string_view value) {
        auto* its = queue(layout::read_due_key(key).place.queue, Messages{1});
        if (its != nullptr) its->records += {Messages{1}, Bytes{layout::read_due_value(value).body_bytes}};
      },
      [this](std::string_view key) {
        if (!layout::is_due_key(key)) return set_aside("a due time", key, Messages{1});
        // A walk reaches it, and its record is set aside then.
        auto* its = queue(layout::read_due_key(key).place.queue, Messages{1});
        if (its != nullptr) its->records += {Messages{1}, {}};
        set_aside("a due time", key, {});
      });
}

void Reading::dead() {
  for (lmdb::Cursor at(txn_, databases_.dead); at.next();) {  // their values are checked when they are used
    if (!layout::is_place(at.key())) {
      set_aside("a dead letter", at.key(), Messages{1});
    } else if (auto* its = queue(layout::read_place(at.key()).queue, Messages{1}))
      its->dead += Messages{1};
  }
}

void Reading::sessions() {
  const auto found = [this](std::string_view key) -> core::Recovered::Session& {
    const auto id = layout::read_session(key);
    auto& session = out_.sessions.emplace_back();
    session.token = id.token;
    session.shard = id.shard;
    return session;
  };
  walk(
      databases_.sessions,
      [&](std::string_view key, std::string_view value) { parse(value, "a session's note", found(key).note); },
      [&](std::string_view key) {
        // Its key is enough to wait for the session. If the key is damaged too, a session is waited for in vain.
        constexpr std::size_t key_bytes = 20;
        if (key.size() == key_bytes) static_cast<void>(found(key));
        set_aside("a session's note", {}, {});  // its key has a process token in it, which must not be shown
      });
}

void Reading::publishers() {
  walk(
      databases_.publishers,
      [this](std::string_view key, std::string_view value) {
        const auto id = PublisherId::from(key);
        if (!id) throw StoreError("the store is damaged: a publisher's key; restore the data folder from a backup");
        auto& publisher = out_.publishers.emplace_back();
        publisher.id = *id;
        parse(value, "a publisher's mark", publisher.mark);
      },
      // The publisher is unknown now, and treats what it has unanswered as in doubt.
      [this](std::string_view) { set_aside("a publisher's mark", {}, {}); });
}

void Reading::all() {
  queues();
  heads();
  due();
  dead();
  sessions();
  publishers();
  for (const auto& [id, messages] : unknown_) {
    if (messages.value == 0) continue;
    out_.damaged.push_back(
        {0, "all that is of queue number " + std::to_string(id) + ", whose state is damaged", messages});
  }
}

}  // namespace

void read_all(MDB_txn* txn, const Databases& databases, core::Recovered& out) { Reading(txn, databases, out).all(); }

}  // namespace weir::broker
