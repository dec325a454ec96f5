// What a start needs, read from heads and keys; no payload is touched.
#include "weir/broker/store/recover.hpp"

#include <map>

#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_store.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker {
namespace {

template <class Message>
void parse(std::string_view bytes, const char* what, Message& message) {
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  throw StoreError(std::string("the store is damaged: ") + what +
                   " does not parse; restore the data folder from a backup");
}

class Queues {
 public:
  explicit Queues(std::vector<core::Recovered::Queue>& queues) : queues_(queues) {
    for (std::size_t i = 0; i < queues.size(); ++i) at_[queues[i].id] = i;
  }
  core::Recovered::Queue& operator[](QueueId id) {
    const auto found = at_.find(id);
    if (found == at_.end()) {
      throw StoreError("the store is damaged: messages of queue number " + std::to_string(id) +
                       ", which it does not know; restore the data folder from a backup");
    }
    return queues_[found->second];
  }

 private:
  std::vector<core::Recovered::Queue>& queues_;
  std::map<QueueId, std::size_t> at_;
};

}  // namespace

void read_all(MDB_txn* txn, const Databases& databases, core::Recovered& out) {
  for (lmdb::Cursor at(txn, databases.queues); at.next();) {
    auto& queue = out.queues.emplace_back();
    queue.id = layout::read_queue(at.key());
    parse(at.data(), "a queue's state", queue.state);
  }
  Queues queues(out.queues);
  for (lmdb::Cursor at(txn, databases.heads); at.next();) {
    const core::SegmentKey key = layout::read_segment_key(at.key());
    auto& segment = queues[key.queue].segments.emplace_back();
    segment.lane = key.lane;
    segment.number = key.segment;
    parse(at.data(), "a segment's head", segment.head);
    if (segment.head.count() == 0 || segment.head.count() > protocol::segment_messages_most) {
      throw StoreError("the store is damaged: segment " + std::to_string(key.segment) + " of queue number " +
                       std::to_string(key.queue) + " has " + std::to_string(segment.head.count()) +
                       " messages by its head, not 1 to 256; restore the data folder from a backup");
    }
  }
  for (lmdb::Cursor at(txn, databases.due); at.next();) {
    const Place place = layout::read_due_key(at.key()).place;
    queues[place.queue].records += {Messages{1}, Bytes{layout::read_due_value(at.data()).body_bytes}};
  }
  for (lmdb::Cursor at(txn, databases.dead); at.next();) {
    queues[layout::read_place(at.key()).queue].dead += Messages{1};
  }
  for (lmdb::Cursor at(txn, databases.sessions); at.next();) {
    const auto id = layout::read_session(at.key());
    auto& session = out.sessions.emplace_back();
    session.token = id.token;
    session.shard = id.shard;
    parse(at.data(), "a session's note", session.note);
  }
  for (lmdb::Cursor at(txn, databases.publishers); at.next();) {
    const auto id = PublisherId::from(at.key());
    if (!id) throw StoreError("the store is damaged: a publisher's key; restore the data folder from a backup");
    auto& publisher = out.publishers.emplace_back();
    publisher.id = *id;
    parse(at.data(), "a publisher's mark", publisher.mark);
  }
}

}  // namespace weir::broker
