#include "lines.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "weir/message/error.hpp"

namespace weir::cli {
namespace {

constexpr std::size_t read_at_once = 256 * 1024;
/// The largest that `broker.message_most` may be.
constexpr std::size_t line_most = 128ULL * 1024 * 1024;

}  // namespace

Lines::Lines(asio::any_io_executor executor, const std::optional<std::string>& file) {
  file_ = STDIN_FILENO;
  if (file && *file != "-") {
    file_ = open(file->c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) throw Error("cannot read " + *file + ": " + std::strerror(errno));
    owned_ = true;
  }
  struct stat status {};
  if (fstat(file_, &status) != 0) throw Error(std::string("cannot read standard input: ") + std::strerror(errno));
  if (S_ISDIR(status.st_mode)) {
    if (owned_) close(file_);
    throw Error("cannot read " + file.value_or("standard input") + ": it is a folder");
  }
  if ((fcntl(file_, F_GETFL) & O_ACCMODE) == O_WRONLY) {  // the state in which weir::inherited leaves a closed one
    throw Error("cannot read standard input: it is closed, or open for writing alone; --from FILE or --data MESSAGE");
  }
  if (S_ISREG(status.st_mode)) bytes_total_ = static_cast<std::uint64_t>(status.st_size);
  flags_ = fcntl(file_, F_GETFL);
  // A duplicate, as the stream_descriptor closes its own.
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || isatty(file_) == 1) {
    waiting_.emplace(executor, fcntl(file_, F_DUPFD_CLOEXEC, 0));
  }
}

Lines::~Lines() {
  if (waiting_) fcntl(file_, F_SETFL, flags_);
  if (owned_) close(file_);
}

std::optional<std::string_view> Lines::next() {
  const auto end = buffer_.find('\n', std::max(at_, searched_));
  if (end == std::string::npos && (!ended_ || at_ == buffer_.size())) {
    searched_ = buffer_.size();  // a long line comes in many pieces
    return std::nullopt;
  }
  std::string_view line = std::string_view(buffer_).substr(at_, std::min(end, buffer_.size()) - at_);
  bytes_done_ += line.size() + 1;
  at_ = std::min(end, buffer_.size() - 1) + 1;
  ++number_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

task<bool> Lines::read_more() {
  if (ended_) co_return false;
  buffer_.erase(0, at_);
  searched_ -= std::min(searched_, at_);
  at_ = 0;
  if (buffer_.size() > line_most) throw Error("line " + std::to_string(number_ + 1) + " is longer than 128MiB");
  if (waiting_) co_await waiting_->async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
  const std::size_t had = buffer_.size();
  buffer_.resize(had + read_at_once);
  ssize_t count = -1;
  do {
    count = read(file_, buffer_.data() + had, read_at_once);
  } while (count < 0 && errno == EINTR);
  const int error = errno;
  buffer_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  if (count < 0 && (error == EAGAIN || error == EWOULDBLOCK)) co_return true;  // nothing to read after all: ask again
  if (count < 0) throw Error(std::string("cannot read on: ") + std::strerror(error));
  ended_ = count == 0;
  co_return !ended_ || !buffer_.empty();
}

}  // namespace weir::cli
