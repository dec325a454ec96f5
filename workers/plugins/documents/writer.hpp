#pragma once

/// Group commit for the index: one thread writes the rows that all handlers have gathered meanwhile, in one
/// transaction.

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "index.hpp"

namespace documents {

/// SQLite blocks, syncs once per transaction, and has one writer. So neither a loop nor a pool of threads should wait
/// for it, and many rows should share one sync. A handler hands over its row, and is resumed once the row is on disk.
///
/// Thread: write() may be awaited on any loop; each is resumed on its own.
class Writer {
 public:
  /// Opens or makes the database in the writer's thread. An error there makes each write() fail.
  explicit Writer(std::string file);
  /// Writes the rows that were handed over, then ends.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// Waits until the row is on disk.
  ///
  /// Throws: std::runtime_error, with SQLite's reason; then nothing was written.
  /// Cancellation: none; the wait is short, and the row may already be under way to the disk.
  boost::asio::awaitable<void> write(Index::Row row);

 private:
  using Done = boost::asio::any_completion_handler<void(std::exception_ptr)>;
  struct Waiting {
    Index::Row row;
    Done done;
    boost::asio::any_io_executor loop;  ///< has work meanwhile, so that it does not end
  };

  void push(Waiting waiting);
  void run();

  std::string file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  bool ending_ = false;
  std::thread thread_;  // last, as it uses all members above
};

}  // namespace documents
