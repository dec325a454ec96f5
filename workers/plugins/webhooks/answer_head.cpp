#include "answer_head.hpp"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/system/system_error.hpp>
#include <charconv>

namespace webhooks {
namespace {

namespace http = boost::beast::http;

constexpr std::string_view blanks = " \t";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

[[noreturn]] void throw_no_answer(http::error why) { throw boost::system::system_error(http::make_error_code(why)); }

/// Reads `HTTP/1.1 200 OK`. The reason may be missing, and the blank before it too.
unsigned status_of(std::string_view line) {
  constexpr std::string_view version = "HTTP/1.";
  constexpr std::size_t code_at = version.size() + 2;
  constexpr std::size_t code_size = 3;
  if (!line.starts_with(version) || line.size() < code_at + code_size || line[code_at - 1] != ' ') {
    throw_no_answer(http::error::bad_version);
  }
  unsigned status = 0;
  const char* const code = line.data() + code_at;
  const auto [end, error] = std::from_chars(code, code + code_size, status);
  const bool ends = line.size() == code_at + code_size || line[code_at + code_size] == ' ';
  if (error != std::errc{} || end != code + code_size || !ends || status < 100)
    throw_no_answer(http::error::bad_status);
  return status;
}

}  // namespace

void AnswerHead::take(std::string_view bytes) {
  while (!complete_ && !bytes.empty()) {
    const auto end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    bytes_ += part.size() + 1;
    if (bytes_ > answer_head_most_bytes) {
      if (status_ == 0) throw_no_answer(http::error::header_limit);
      complete_ = true;  // the status is known
      return;
    }
    line_ += part;
    if (end == std::string_view::npos) {
      --bytes_;  // its end may still come
      return;
    }
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    take_line(line_);
    line_.clear();
  }
}

void AnswerHead::take_line(std::string_view line) {
  if (interim_) {
    interim_ = !line.empty();
  } else if (status_ != 0) {
    take_field(line);
  } else if (!line.empty()) {  // not an extra blank line after a head
    take_status(line);
  }
}

void AnswerHead::take_status(std::string_view line) {
  const unsigned status = status_of(line);
  interim_ = status < 200;
  if (interim_) return;
  status_ = status;
  bytes_ = 0;
  complete_ = status < 300;
}

void AnswerHead::take_field(std::string_view line) {
  complete_ = line.empty();
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !retry_after_.empty()) return;
  if (boost::beast::iequals(line.substr(0, colon), "Retry-After")) retry_after_ = trimmed(line.substr(colon + 1));
}

}  // namespace webhooks
