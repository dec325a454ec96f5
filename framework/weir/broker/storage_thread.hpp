#pragma once

/// The thread that commits: one batch at a time, while the loop gathers the next (group commit, pipelined).

#include <boost/asio/any_io_executor.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "weir/broker/core/store.hpp"
#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {

/// What the storage thread reports. Called on the loop.
class StorageListener {
 public:
  virtual ~StorageListener() = default;
  /// `damaged`: messages that the batch was to move, and that are not in the store as they were written.
  virtual void on_committed(const std::vector<core::Damage>& damaged) = 0;
  /// The store has room above its reserve, or no longer. Called when that changes.
  virtual void on_room(bool enough) = 0;
  /// Nothing can be confirmed any more: the process must end.
  virtual void on_broken(const std::string& why) = 0;
};

class StorageThread {
 public:
  /// `store`, which keeps `reserve` back, and `listener` must outlive it.
  StorageThread(LmdbStore& store, Bytes reserve, boost::asio::any_io_executor loop, StorageListener& listener);
  StorageThread(const StorageThread&) = delete;
  StorageThread& operator=(const StorageThread&) = delete;
  /// Waits for a commit that is running; gives up one that waits for room.
  ~StorageThread();

  /// Not while another batch is uncommitted. If there is no room for it, it is tried again until there is some; then
  /// on_committed() follows.
  void commit(core::Batch batch);

 private:
  void run();
  void commit_until_done(const core::Batch& batch);
  void tend_room(bool must);
  template <class F>
  void tell(F f);

  LmdbStore& store_;
  boost::asio::any_io_executor loop_;
  StorageListener& listener_;
  Bytes reserve_;
  Bytes written_;  ///< since the disk was last looked at
  bool room_ = true;
  std::chrono::steady_clock::time_point tended_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<core::Batch> batch_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace weir::broker
