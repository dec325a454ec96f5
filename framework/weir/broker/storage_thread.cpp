#include "weir/broker/storage_thread.hpp"

#include <boost/asio/post.hpp>

#include "weir/telemetry/log.hpp"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

constexpr auto room_looked_at_every = 1s;
/// Commits are followed by a look at the room no more often than this, unless they wrote an eighth of the reserve: near
/// the end a look walks over a list of free pages. (With looks by time alone, publishes on a fast disk used up all of a
/// small reserve between two looks.)
constexpr auto room_looked_at_least = 20ms;
constexpr auto full_pause = 100ms;

Bytes payload_of(const core::Batch& batch) {
  Bytes bytes;
  for (const core::Write& write : batch.writes) {
    if (const auto* segment = std::get_if<core::PutSegment>(&write)) bytes += Bytes{segment->bytes};
    if (const auto* record = std::get_if<core::PutRecord>(&write)) bytes += Bytes{record->body.bytes.size()};
  }
  return bytes;
}

}  // namespace

StorageThread::StorageThread(LmdbStore& store, Bytes reserve, boost::asio::any_io_executor loop,
                             StorageListener& listener)
    : store_(store), loop_(std::move(loop)), listener_(listener), reserve_(reserve), thread_([this] { run(); }) {}

StorageThread::~StorageThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StorageThread::commit(core::Batch batch) {
  {
    const std::lock_guard lock(mutex_);
    batch_ = std::move(batch);
  }
  wake_.notify_one();
}

template <class F>
void StorageThread::tell(F f) {
  boost::asio::post(loop_, [this, f] { f(listener_); });
}

void StorageThread::run() {
  try {
    tend_room(true);
    std::unique_lock lock(mutex_);
    while (!stopping_ || batch_) {
      if (!batch_) wake_.wait_for(lock, room_looked_at_every, [this] { return stopping_ || batch_; });
      std::optional<core::Batch> batch = std::exchange(batch_, std::nullopt);
      if (!batch && stopping_) return;
      lock.unlock();
      if (batch) {
        written_ += payload_of(*batch);
        commit_until_done(*batch);
        batch.reset();  // its frames are freed here, not on the loop
      } else {
        store_.look();
      }
      tend_room(false);
      lock.lock();
    }
  } catch (const std::exception& error) {
    const std::string why = error.what();
    tell([why](StorageListener& listener) { listener.on_broken(why); });
  }
}

void StorageThread::commit_until_done(const core::Batch& batch) {
  bool waited = false;
  for (;;) {
    try {
      store_.commit(batch);
      store_.look();  // else it would be confirmed, in a file that no process can open
      if (waited) log::info("store_has_room_again");
      tell([damaged = store_.damaged()](StorageListener& listener) { listener.on_committed(damaged); });
      return;
    } catch (const StoreFull& full) {
      static log::Limit limit{10s};
      log::warn(limit, "store_full",
                {{"why", full.what()}, {"doing", "waiting for room; nothing is confirmed meanwhile"}});
      waited = true;
    }
    tend_room(true);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, full_pause, [this] { return stopping_; });
    if (stopping_) throw StoreFull("the broker was stopped while its last commit waited for room on the disk");
  }
}

void StorageThread::tend_room(bool must) {
  const auto now = std::chrono::steady_clock::now();
  must = must || written_.value >= reserve_.value / 8;
  if (!must && now - tended_ < room_looked_at_least) return;
  tended_ = now;
  written_ = {0};
  const bool enough = store_.tend_room();
  if (enough == room_) return;
  room_ = enough;
  const Room& room = store_.room();
  if (enough) {
    log::info("store_has_room", {{"bytes", room.sum()}, {"reserve", reserve_}});
  } else {
    // RULE: reserve_stops_publishing
    log::warn("store_low_on_room", {{"bytes", room.sum()},
                                    {"reserve", reserve_},
                                    {"doing", "publishing waits, settling goes on: make room on its disk"}});
  }
  tell([enough](StorageListener& listener) { listener.on_room(enough); });
}

}  // namespace weir::broker
