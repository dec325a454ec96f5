#include "store_batches.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace weir::chaos {
namespace {

constexpr QueueId queues = 3;
/// Beyond this, things are rather dropped than made: enough for a tree of several levels, and quick to compare.
constexpr std::size_t segments_most = 40;
constexpr std::size_t records_most = 150;

template <std::size_t N>
void fill(std::array<unsigned char, N>& bytes, std::mt19937_64& random) {
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
}

/// One batch, write by write.
class Writer {
 public:
  Writer(std::uint64_t seed, std::uint64_t number, Model before) : number_(number), random_(seed * 1'000'003 + number) {
    batch_.number = number;
    const core::Recovered found = before.recover();
    for (const auto& queue : found.queues) {
      states_[queue.id] = queue.state;
      for (const auto& segment : queue.segments) {
        std::string settled = segment.head.settled();
        settled.resize((segment.head.count() + 7) / 8);
        segments_.push_back({{queue.id, segment.lane, segment.number}, segment.head.count(), std::move(settled)});
      }
      const auto snapshot = before.snapshot();
      std::vector<core::RecordHead> records;
      for (const core::DueBy by : core::due_clocks) snapshot->due({queue.id, by, {}, INT64_MAX, SIZE_MAX}, {}, records);
      for (const auto& record : records) records_.emplace_back(record.place, record.lane);
      snapshot->dead_after(queue.id, {}, SIZE_MAX, dead_);
    }
    for (const auto& session : found.sessions) sessions_.emplace_back(session.token, session.shard);
    for (const auto& publisher : found.publishers) publishers_.push_back(publisher.id);
  }

  core::Batch write() {
    if (states_.empty()) {
      for (QueueId queue = 1; queue <= queues; ++queue) put_queue(queue);
    }
    for (std::uint64_t left = below(20) == 0 ? 150 : 1 + below(30); left > 0; --left) write_one();
    return std::move(batch_);
  }

 private:
  struct Segment {
    core::SegmentKey key;
    std::uint32_t count{};
    std::string settled;
  };

  std::uint64_t below(std::uint64_t most) { return random_() % most; }
  template <class T>
  T& any(std::vector<T>& of) {
    return of[below(of.size())];
  }
  template <class T>
  T take(std::vector<T>& of) {
    std::swap(any(of), of.back());
    T taken = std::move(of.back());
    of.pop_back();
    return taken;
  }
  QueueId queue() { return static_cast<QueueId>(1 + below(queues)); }
  /// Never given twice in a queue, and rising: as the core reserves them. Other queues have the same ones.
  SegmentNumber new_number(QueueId queue) { return number_ * 1'000 + made_[queue]++; }
  std::string text(std::uint64_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>('a' + below(26));
    return bytes;
  }
  LeaseId lease() { return {static_cast<std::uint32_t>(1 + below(9)), random_() % 1'000'000}; }
  /// Many in few buckets of 64 ms.
  std::int64_t due() { return static_cast<std::int64_t>(1'000'000 + below(2'000'000)); }

  void write_one() {
    if (segments_.size() > segments_most && below(2) == 0) return drop_segment();
    if (records_.size() > records_most && below(2) == 0) return drop_record();
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
        return put_segment();
      case 3:
        return put_queue(queue());
      case 4:
        return segments_.empty() ? put_segment() : put_settled();
      case 5:
        return segments_.empty() ? put_segment() : drop_segment();
      case 6:
        return put_record();
      case 7:
      case 8:
        return segments_.empty() ? put_segment() : move_from_segment();
      case 9:
        return records_.empty() ? put_record() : move_record();
      case 10:
        return records_.empty() ? put_record() : drop_record();
      case 11:
        return dead_.empty() ? put_record() : replay();
      case 12:
        return dead_.empty() ? put_record() : drop_dead();
      case 13:
        return sessions_.size() < 5 ? note_session() : forget_session();
      case 14:
        return put_publisher();
      default:
        return publishers_.size() < 10 ? put_publisher() : drop_publisher();
    }
  }

  void put_queue(QueueId queue) {
    v1::QueueState& state = states_[queue];
    state.set_name("queue" + std::to_string(queue));
    state.set_published(state.published() + below(1'000));
    state.set_segments_reserved(number_ * 1'000 + 1'000);
    if (state.delivery_marks_size() < 10) state.add_delivery_marks(below(1'000));
    batch_.writes.emplace_back(core::PutQueue{queue, state});
  }

  NameRun names_of(std::uint64_t count) {
    NameRun run;
    fill(run.publisher.bytes, random_);
    run.first = below(1'000'000);
    run.count = static_cast<std::uint32_t>(count);
    return run;
  }

  void put_segment() {
    auto contents = std::make_shared<core::Contents>();
    v1::Index* const index = &contents->index;
    // Mostly of some messages, now and then full, now and then one large message.
    const std::uint64_t count = below(10) == 0 ? 256 : below(10) == 0 ? 1 : 1 + below(40);
    std::uint64_t bytes = 0;
    const bool has_types = count > 1;
    index->add_types("t.T");
    if (has_types) index->add_types("t.Other");
    const bool keys = below(3) == 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::string body = text(count == 1 ? below(300'000) : below(250));
      index->add_lengths(static_cast<std::uint32_t>(body.size()));
      if (has_types) index->add_type_of(static_cast<std::uint32_t>(below(2)));
      if (keys) index->add_key(text(5));
      if (keys) index->add_unique_id(text(9));
      bytes += body.size();
      contents->run.push_back(Slice::of(std::move(body)));
    }
    for (std::uint64_t named = 0; named < count;) {
      const std::uint64_t n = std::min(count - named, 1 + below(100));
      contents->names.push_back(names_of(n));
      named += n;
    }
    const QueueId in = queue();
    contents->published_at_us = static_cast<std::int64_t>(number_);
    const core::SegmentKey key{in, static_cast<Lane>(below(lanes_most)), new_number(in)};
    segments_.push_back({key, static_cast<std::uint32_t>(count), std::string((count + 7) / 8, '\0')});
    batch_.writes.emplace_back(core::PutSegment{key, std::move(contents), bytes, {}});
  }

  void put_settled() {
    Segment& segment = any(segments_);
    for (char& bits : segment.settled) bits = static_cast<char>(bits | static_cast<char>(random_()));
    batch_.writes.emplace_back(core::PutSettled{segment.key, segment.settled});
  }

  void drop_segment() { batch_.writes.emplace_back(core::DropSegment{take(segments_).key}); }

  void put_record() {
    const QueueId in = queue();
    core::PutRecord put{{in, new_number(in), static_cast<std::uint32_t>(below(3))}, {}, Slice::of(text(below(9'000)))};
    put.record.set_type("t.T");
    put.record.set_priority(4);
    put.record.set_due_us(due());
    put.record.set_by_wall(below(2) == 0);
    put.record.set_name(text(24));
    records_.emplace_back(put.place, default_lane);
    batch_.writes.emplace_back(std::move(put));
  }

  void move(Place place, Lane lane, core::Source source) {
    core::MoveMessage move;
    move.place = place;
    move.lane = lane;
    move.source = source;
    move.dead = below(3) == 0;
    move.at_us = due();
    move.attempts = static_cast<std::uint32_t>(1 + below(5));
    move.lease = lease();
    move.suspicion = static_cast<v1::Suspicion>(below(5));
    if (below(4) != 0) {
      v1::Attempt attempt;
      attempt.set_number(move.attempts);
      attempt.set_error(text(below(80)));
      move.attempt.emplace(std::move(attempt));
    }
    if (move.dead) {
      dead_.push_back(place);
    } else {
      records_.emplace_back(place, lane);
    }
    batch_.writes.emplace_back(std::move(move));
  }

  /// Neighbours, as they fail together; and their bits.
  void move_from_segment() {
    Segment& segment = any(segments_);
    for (std::uint64_t i = below(segment.count), left = 1 + below(8); i < segment.count && left > 0; ++i, --left) {
      char& bits = segment.settled[i / 8];
      const char bit = static_cast<char>(1 << i % 8);
      if ((bits & bit) != 0) continue;
      bits = static_cast<char>(bits | bit);
      move({segment.key.queue, segment.key.segment, static_cast<std::uint32_t>(i)}, segment.key.lane,
           core::Source::segment);
    }
    batch_.writes.emplace_back(core::PutSettled{segment.key, segment.settled});
  }
  void move_record() {
    const auto [place, lane] = take(records_);
    move(place, lane, core::Source::record);
  }
  void drop_record() { batch_.writes.emplace_back(core::DropRecord{take(records_).first}); }
  void replay() {
    const Place place = take(dead_);
    records_.emplace_back(place, default_lane);
    batch_.writes.emplace_back(core::ReplayDead{place, due()});
  }
  void drop_dead() { batch_.writes.emplace_back(core::DropDead{take(dead_)}); }

  void note_session() {
    core::NoteSession note;
    fill(note.token.bytes, random_);
    note.shard = static_cast<std::uint32_t>(below(4));
    note.note.set_group(text(8));
    note.note.set_pid(static_cast<std::uint32_t>(below(40'000)));
    sessions_.emplace_back(note.token, note.shard);
    batch_.writes.emplace_back(std::move(note));
  }
  void forget_session() {
    const auto [token, shard] = take(sessions_);
    batch_.writes.emplace_back(core::ForgetSession{token, shard});
  }
  void put_publisher() {
    core::PutPublisher put;
    if (publishers_.empty() || below(3) == 0) {
      fill(put.publisher.bytes, random_);
      publishers_.push_back(put.publisher);
    } else {
      put.publisher = any(publishers_);
    }
    put.mark.set_mark(random_() % 1'000'000);
    if (below(3) == 0) put.mark.add_refused()->set_first(below(1'000));
    batch_.writes.emplace_back(std::move(put));
  }
  void drop_publisher() { batch_.writes.emplace_back(core::DropPublisher{take(publishers_)}); }

  std::uint64_t number_;
  std::mt19937_64 random_;
  core::Batch batch_;
  std::map<QueueId, SegmentNumber> made_;
  std::map<QueueId, v1::QueueState> states_;
  std::vector<Segment> segments_;
  std::vector<std::pair<Place, Lane>> records_;
  std::vector<Place> dead_;
  std::vector<std::pair<ProcessToken, std::uint32_t>> sessions_;
  std::vector<PublisherId> publishers_;
};

/// Stores differ in which columns they write first, not in what they say.
template <class Message>
std::string said(std::optional<std::string_view> bytes) {
  Message message;
  if (!bytes) return "missing";
  if (!message.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) return "does not parse";
  return message.SerializeAsString();
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

/// All records as the core walks them, a page at a time, as time goes by.
void read_due(core::Snapshot& snapshot, QueueId queue, core::DueBy by, const std::string& name, Contents& out) {
  core::DueCursor after;
  core::Places known;
  std::size_t position = 0;
  std::int64_t until = 0;
  std::vector<core::RecordHead> page;
  while (until != INT64_MAX) {
    page.clear();
    const core::DueWalk walk = snapshot.due({queue, by, after, until, 37}, known, page);
    for (const core::RecordHead& record : page) {
      const std::string id = print_id(name, record.place.segment, record.place.index);
      out["due " + name + (by == core::DueBy::wall ? " by the wall " : " ") + std::to_string(position++)] =
          id + " at " + std::to_string(record.due_us);
      out["record " + id] = said<v1::Record>(snapshot.record(record.place));
      known.insert(record.place);
    }
    after = walk.at;
    if (page.size() < 37) until = std::max(until + 1, walk.next_us);
  }
}

}  // namespace

core::Batch batch_of(std::uint64_t seed, std::uint64_t number, Model before) {
  return Writer(seed, number, std::move(before)).write();
}

Contents contents_of(core::Store& store, const core::Recovered& recovered) {
  Contents out;
  const auto snapshot = store.snapshot();
  for (const auto& queue : recovered.queues) {
    const std::string& name = queue.state.name();
    out["queue " + name] = queue.state.SerializeAsString();
    out["counts " + name] = std::to_string(queue.records.messages.value) + " records of " +
                            std::to_string(queue.records.bytes.value) + " bytes, " + std::to_string(queue.dead.value) +
                            " dead";
    for (const auto& segment : queue.segments) {
      const std::string id = name + " lane " + std::to_string(segment.lane) + " " + std::to_string(segment.number);
      out["head " + id] = segment.head.SerializeAsString();
      out["segment " + id] = said<v1::Segment>(snapshot->segment({queue.id, segment.lane, segment.number}));
    }
    for (const core::DueBy by : core::due_clocks) read_due(*snapshot, queue.id, by, name, out);
    std::vector<Place> dead;
    snapshot->dead_after(queue.id, {}, SIZE_MAX, dead);
    for (const Place& place : dead) {
      out["dead " + print_id(name, place.segment, place.index)] = said<v1::Record>(snapshot->dead(place));
    }
  }
  for (const auto& session : recovered.sessions) {
    out["session " + hex(session.token.view()) + " " + std::to_string(session.shard)] =
        session.note.SerializeAsString();
  }
  for (const auto& publisher : recovered.publishers) {
    out["publisher " + hex(publisher.id.view())] = publisher.mark.SerializeAsString();
  }
  return out;
}

Contents contents_of(Model model) {
  const core::Recovered recovered = model.recover();
  return contents_of(model, recovered);
}

std::string difference(const Contents& expected, const Contents& found) {
  std::string text;
  int differences = 0;
  const auto tell = [&](const std::string& name, const char* what) {
    if (++differences <= 5) text += (text.empty() ? "" : "; ") + name + " " + what;
  };
  for (const auto& [name, value] : expected) {
    const auto at = found.find(name);
    if (at == found.end()) {
      tell(name, "is missing");
    } else if (at->second != value) {
      tell(name, "is another");
    }
  }
  for (const auto& [name, value] : found) {
    if (!expected.contains(name)) tell(name, "should not be there");
  }
  if (differences > 5) text += "; and " + std::to_string(differences - 5) + " more";
  return text;
}

}  // namespace weir::chaos
