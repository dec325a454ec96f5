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
  /// `file` absent: standard input. Throws: Error when it cannot be opened.
  Lines(asio::any_io_executor executor, const std::optional<std::string>& file);
  ~Lines();
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  /// The next line without its end, if one is in the buffer; valid until read_more().
  [[nodiscard]] std::optional<std::string_view> next();
  /// Reads what there is; waits if there is nothing yet. False: the end, and next() has handed out every line.
  ///
  /// Throws: Error when reading fails, or a line is longer than any message may be. Cancellation: terminal.
  task<bool> read_more();

  /// Of the line that next() gave last, from 1.
  [[nodiscard]] std::uint64_t number() const { return number_; }
  /// Bytes handed out so far, and of the whole where that is known.
  [[nodiscard]] std::uint64_t bytes_done() const { return bytes_done_; }
  [[nodiscard]] std::optional<std::uint64_t> bytes_total() const { return bytes_total_; }

 private:
  int file_ = -1;
  bool owned_ = false;
  int flags_ = 0;  ///< as they were: Asio makes what it waits for non-blocking, for whoever shares it too
  /// Only what can be waited for (a pipe, a terminal): epoll takes no regular files, which never make one wait anyway.
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
