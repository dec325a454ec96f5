#pragma once

/// The head of an HTTP/1 answer, as its bytes come in. Pure: the connection is http_post.cpp's.

#include <cstddef>
#include <string>
#include <string_view>

namespace webhooks {

/// Of an answer no more is read, beside its body. What comes before it (1xx) may have as much, all together.
inline constexpr std::size_t answer_head_most_bytes = 64 * 1024;

/// Reads heads until the answer is known: those of 1xx are passed over, however many come (RFC 9110, 15.2); a 2xx is
/// known by its status line, whatever follows; of another the fields are read, for one of them.
class AnswerHead {
 public:
  /// Takes what came next. Throws: boost::system::system_error where no answer can follow any more: these bytes are not
  /// HTTP/1, or too many are those of 1xx.
  void take(std::string_view bytes);

  /// The status, once its line is read; 0: not yet. It is the answer, also if no more of its head comes.
  [[nodiscard]] unsigned status() const { return status_; }
  /// The field of that name, the first; or empty.
  [[nodiscard]] const std::string& retry_after() const { return retry_after_; }
  /// Nothing that may follow matters.
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  void take_line(std::string_view line);
  void take_status(std::string_view line);
  void take_field(std::string_view line);

  std::string line_;  ///< of which the end has not come
  std::size_t bytes_ = 0;
  bool interim_ = false;  ///< in a head of 1xx
  unsigned status_ = 0;
  std::string retry_after_;
  bool complete_ = false;
};

}  // namespace webhooks
