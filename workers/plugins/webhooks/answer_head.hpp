#pragma once

/// Reads the head of an HTTP/1 answer as its bytes come in. Pure: http_post.cpp has the connection.

#include <cstddef>
#include <string>
#include <string_view>

namespace webhooks {

/// The most bytes of an answer's head that are read. All answers before it (1xx) together may have as much.
inline constexpr std::size_t answer_head_most_bytes = 64 * 1024;

/// Reads heads until the answer is known. Any number of 1xx heads is passed over (RFC 9110, 15.2). A 2xx is known by
/// its status line, whatever follows. For any other status the fields are read, because of Retry-After.
class AnswerHead {
 public:
  /// Takes the next bytes. Throws: boost::system::system_error if no answer can follow any more, as the bytes are not
  /// HTTP/1, or too many belong to 1xx.
  void take(std::string_view bytes);

  /// The status, once its line was read; 0: not yet. It is the answer, even if no more of its head comes.
  [[nodiscard]] unsigned status() const { return status_; }
  /// The first Retry-After field, or empty.
  [[nodiscard]] const std::string& retry_after() const { return retry_after_; }
  /// True if no further bytes matter.
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  void take_line(std::string_view line);
  void take_status(std::string_view line);
  void take_field(std::string_view line);

  std::string line_;  ///< a line whose end has not come yet
  std::size_t bytes_ = 0;
  bool interim_ = false;  ///< in a head of 1xx
  unsigned status_ = 0;
  std::string retry_after_;
  bool complete_ = false;
};

}  // namespace webhooks
