#pragma once

/// Lines to publish: from standard input, a file, or one text.

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/async/task.hpp"

namespace weir::cli {

/// Hands out lines as views into a buffer that is read in large pieces.
class Lines {
 public:
  /// Without `file`: standard input. Throws: Error if it cannot be opened.
  Lines(asio::any_io_executor executor, const std::optional<std::string>& file);
  ~Lines();
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  /// Returns the next line without its end, if one is in the buffer. Valid until read_more().
  [[nodiscard]] std::optional<std::string_view> next();
  /// Reads the available bytes, and waits if there are none yet. Returns false at the end, when next() has handed out
  /// every line.
  ///
  /// Throws: Error if reading fails, or a line is longer than any message may be. Cancellation: terminal.
  task<bool> read_more();

  /// The number of the line that next() returned last, from 1.
  [[nodiscard]] std::uint64_t number() const { return number_; }
  /// The bytes handed out so far, and the total if it is known.
  [[nodiscard]] std::uint64_t bytes_done() const { return bytes_done_; }
  [[nodiscard]] std::optional<std::uint64_t> bytes_total() const { return bytes_total_; }

 private:
  int file_ = -1;
  bool owned_ = false;
  int flags_ = 0;  ///< the file's own, to restore: Asio makes it non-blocking, also for other processes that share it
  /// Set only for a file that can be waited for (a pipe, a terminal). epoll takes no regular files, which are always
  /// ready.
  std::optional<asio::posix::stream_descriptor> waiting_;
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t searched_ = 0;  ///< there is no line end between at_ and here
  bool ended_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t bytes_done_ = 0;
  std::optional<std::uint64_t> bytes_total_;
};

}  // namespace weir::cli
