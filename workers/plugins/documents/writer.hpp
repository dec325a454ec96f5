#pragma once

/// Group commit for the index: one thread writes what all handlers have gathered meanwhile in one transaction.

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

/// SQLite blocks, syncs once a transaction, and has one writer: so neither a loop nor a pool of threads should wait for
/// it, and many rows should share one sync. Handlers hand over their row and are resumed once it is on disk.
///
/// Thread: write() may be awaited on any loop; each is resumed on its own.
class Writer {
 public:
  /// Opens or makes the database, in the writer's thread; what fails there fails each write().
  explicit Writer(std::string file);
  /// Writes what was handed over, then ends.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// Ends when the row is on disk.
  ///
  /// Throws: std::runtime_error, with SQLite's reason; nothing was written then.
  /// Cancellation: none; it is over in a moment, and the row may be on its way to the disk.
  boost::asio::awaitable<void> write(Index::Row row);

 private:
  using Done = boost::asio::any_completion_handler<void(std::exception_ptr)>;
  struct Waiting {
    Index::Row row;
    Done done;
    boost::asio::any_io_executor loop;  ///< kept from running dry meanwhile
  };

  void push(Waiting waiting);
  void run();

  std::string file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace documents
