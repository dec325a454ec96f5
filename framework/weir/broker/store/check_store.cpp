#include "weir/broker/store/check_store.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "weir/broker/core/bits.hpp"
#include "weir/broker/store/data_folder.hpp"
#include "weir/broker/store/layout.hpp"
#include "weir/broker/store/lmdb_store.hpp"
#include "weir/broker/store/pages.hpp"
#include "weir/broker/store/values.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::broker {
namespace {

constexpr const char* not_as_written = "it is not as it was written";
constexpr const char* no_sense = "it is as it was written, and makes no sense: report this as a defect of Weir";

std::string print_hex(std::uint64_t number) {
  const std::string id = print_id("", number, 0);  // "/4f2a1.0"
  return id.substr(1, id.size() - 3);
}

std::string print_place(const Place& place) { return print_hex(place.segment) + "." + std::to_string(place.index); }

template <class Message>
bool parse(std::string_view bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

/// One walk over all databases of a store whose pages are right.
class Check {
 public:
  Check(MDB_txn* txn, const Databases& databases, StoreCheck& out) : txn_(txn), databases_(databases), out_(out) {}

  void all() {
    meta();
    queues();
    segments();
    heads();
    records();
    due();
    dead();
    out_.sessions = plain(databases_.sessions, "a session's note");
    out_.publishers = plain(databases_.publishers, "a publisher's mark");
  }

 private:
  void meta();
  void queues();
  void segments();
  void heads();
  void records();
  void due();
  void dead();
  std::uint64_t plain(MDB_dbi database, const char* what);
  /// The queue's counts, made if it has none yet.
  StoreCheck::Queue& queue(QueueId id);
  void damaged(QueueId id, std::string what, const char* why, std::uint64_t messages);

  MDB_txn* txn_;
  const Databases& databases_;
  StoreCheck& out_;
  std::map<QueueId, std::size_t> at_;
};

StoreCheck::Queue& Check::queue(QueueId id) {
  const auto [at, added] = at_.try_emplace(id, out_.queues.size());
  if (added) out_.queues.push_back({.id = id, .name = {}});
  return out_.queues[at->second];
}

void Check::damaged(QueueId id, std::string what, const char* why, std::uint64_t messages) {
  if (id != 0) ++queue(id).damaged;
  out_.damaged.push_back({id, std::move(what), why, messages});
}

void Check::meta() {
  for (lmdb::Cursor at(txn_, databases_.meta); at.next();) {
    if (at.key() != layout::format_key && !sums::open(at.key(), at.data())) {
      damaged(0, "the store's " + std::string(at.key()), not_as_written, 0);
    }
  }
}

void Check::queues() {
  v1::QueueState state;
  for (lmdb::Cursor at(txn_, databases_.queues); at.next();) {
    const QueueId id = at.key().size() == sizeof(QueueId) ? layout::read_queue(at.key()) : 0;
    const auto value = sums::open(at.key(), at.data());
    if (value && id != 0 && parse(*value, state)) {
      queue(id).name = state.name();
    } else {
      damaged(id, "the queue's state", value ? no_sense : not_as_written, 0);
    }
  }
}

void Check::segments() {
  v1::Index index;
  std::int64_t published_at_us = 0;
  for (lmdb::Cursor at(txn_, databases_.segments); at.next();) {
    if (!layout::is_segment_key(at.key())) {
      damaged(0, "a segment under key " + layout::hex(at.key()), not_as_written, 0);
      continue;
    }
    const auto key = layout::read_segment_key(at.key());
    const auto columns = sums::open_head(at.key(), at.data());
    const bool parses = columns && protocol::decode(columns->value, index, published_at_us).has_value();
    const auto count = static_cast<std::uint64_t>(parses ? index.lengths_size() : 0);
    if (!sums::open_split(at.key(), at.data())) {
      damaged(key.queue, "segment " + print_hex(key.segment), not_as_written, count);
    } else if (!parses) {
      damaged(key.queue, "segment " + print_hex(key.segment), no_sense, 0);
    } else {
      ++queue(key.queue).segments;
      if (!lmdb::get(txn_, databases_.heads, at.key())) {
        damaged(key.queue, "segment " + print_hex(key.segment), "it has no head, by which it would be found", count);
      }
    }
  }
}

void Check::heads() {
  v1::SegmentHead head;
  for (lmdb::Cursor at(txn_, databases_.heads); at.next();) {
    if (!layout::is_segment_key(at.key())) {
      damaged(0, "a segment's head under key " + layout::hex(at.key()), not_as_written, 0);
      continue;
    }
    const auto key = layout::read_segment_key(at.key());
    const auto value = sums::open(at.key(), at.data());
    if (!value || !parse(*value, head)) {
      damaged(key.queue, "the head of segment " + print_hex(key.segment), value ? no_sense : not_as_written, 0);
      continue;
    }
    const std::uint64_t left = head.count() - core::Bits::from(head.settled()).count();
    const auto segment = lmdb::get(txn_, databases_.segments, at.key());
    if (!segment) {
      damaged(key.queue, "segment " + print_hex(key.segment), "it is not there, though its head is", left);
    } else if (sums::open_split(at.key(), *segment)) {
      queue(key.queue).messages += left;
    }
  }
}

void Check::records() {
  v1::Record record;
  for (lmdb::Cursor at(txn_, databases_.records); at.next();) {
    if (!layout::is_place(at.key())) {
      damaged(0, "a record under key " + layout::hex(at.key()), not_as_written, 1);
      continue;
    }
    const Place place = layout::read_place(at.key());
    const auto split = sums::open_split(at.key(), at.data());
    if (!split) {
      damaged(place.queue, "record " + print_place(place), not_as_written, 1);
      continue;
    }
    static_cast<void>(layout::read_record(split->value, place, record));
    ++queue(place.queue).records;
    if (!lmdb::get(txn_, databases_.due, layout::due_key(place, layout::due_by(record), record.due_us()).view())) {
      damaged(place.queue, "record " + print_place(place), "it has no due time, by which it would be found", 1);
    }
  }
}

void Check::due() {
  for (lmdb::Cursor at(txn_, databases_.due); at.next();) {
    if (!layout::is_due_key(at.key())) {
      damaged(0, "a due time under key " + layout::hex(at.key()), not_as_written, 1);
      continue;
    }
    const Place place = layout::read_due_key(at.key()).place;
    if (!sums::open(at.key(), at.data())) {
      damaged(place.queue, "the due time of record " + print_place(place), not_as_written, 1);
    } else if (!lmdb::get(txn_, databases_.records, layout::key_of(place).view())) {
      damaged(place.queue, "record " + print_place(place), "it is not there, though its due time is", 1);
    }
  }
}

void Check::dead() {
  for (lmdb::Cursor at(txn_, databases_.dead); at.next();) {
    const Place place = layout::is_place(at.key()) ? layout::read_place(at.key()) : Place{};
    if (place.queue != 0 && sums::open_split(at.key(), at.data())) {
      ++queue(place.queue).dead;
    } else {
      damaged(place.queue, "dead letter " + print_place(place), not_as_written, 1);
    }
  }
}

std::uint64_t Check::plain(MDB_dbi database, const char* what) {
  std::uint64_t whole = 0;
  for (lmdb::Cursor at(txn_, database); at.next();) {
    if (sums::open(at.key(), at.data())) {
      ++whole;
    } else {
      damaged(0, what, not_as_written, 0);  // its key is a secret of its client
    }
  }
  return whole;
}

void check_values(MDB_env* env, const std::filesystem::path& folder, StoreCheck& out) {
  const std::string where = "folder " + folder.string();
  lmdb::Transaction txn(env, MDB_RDONLY);
  Databases databases;
  MDB_dbi meta{};
  const int code = mdb_dbi_open(txn.get(), "meta", 0, &meta);
  const auto format = code == MDB_SUCCESS ? lmdb::get(txn.get(), meta, layout::format_key) : std::nullopt;
  if (!format || format->size() != sizeof layout::format_version) {
    throw StoreError(where + ": data.mdb is an LMDB file, but not a store of Weir");
  }
  if (const auto version = layout::read_queue(*format); version != layout::format_version) {
    throw StoreError(where + " is of format " + std::to_string(version) + "; this version of weir reads format " +
                     std::to_string(layout::format_version));
  }
  databases.open(txn.get(), 0);
  Check(txn.get(), databases, out).all();
}

}  // namespace

StoreCheck check_store(const std::filesystem::path& folder) {
  const std::string where = "folder " + folder.string();
  const auto file = folder / "data.mdb";
  if (!std::filesystem::is_regular_file(file)) {
    throw StoreError(where + " has no data.mdb: it is not a broker's data folder, nor a copy of one");
  }
  if (is_held(file)) {
    throw StoreError(where + " is in use by a broker: stop it first, or take a copy of the folder");
  }
  StoreCheck out;
  if (const auto why = why_unusable(file, {.at_long_values = true, .was_synced = false})) {
    out.pages = *why;
    return out;
  }
  MDB_env* made = nullptr;
  lmdb::check(mdb_env_create(&made), "mdb_env_create");
  const std::unique_ptr<MDB_env, void (*)(MDB_env*)> env(made, mdb_env_close);
  const std::uint64_t map = std::filesystem::file_size(file) + (1 << 20);
  lmdb::check(mdb_env_set_mapsize(env.get(), map), "mdb_env_set_mapsize");
  lmdb::check(mdb_env_set_maxdbs(env.get(), 16), "mdb_env_set_maxdbs");
  // A copy may be where nothing can be written, not even locks. No process writes to this store.
  lmdb::check(mdb_env_open(env.get(), folder.c_str(), MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0644), "mdb_env_open");
  check_values(env.get(), folder, out);
  return out;
}

}  // namespace weir::broker
